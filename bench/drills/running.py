"""One drill on one transport: its Redis, its site, and the end of both whatever happens."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.drills.kind import Kind, Options
from bench.drills.outcome import Outcome
from bench.drills.site import Site


def drill(
    kind: Kind, transport: str, options: Options, say: Callable[[str], None], keep: Path | None = None
) -> list[Outcome]:
    """Run it and return what it counted, for each pool. Logs and ledger stay in a new folder in `keep`.

    Raises Skipped for what this machine lacks, and SwitchyardError for what never came to pass.
    """
    with (
        _folder(keep and keep / f"{kind.name}-{transport}") as folder,
        kind.server(folder, options) as server,
    ):
        site = Site(server, folder, transport, options.pools, say)
        try:
            return kind.run(site, options)
        finally:
            site.close()


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="switchyard-drill-") as folder:
        yield Path(folder)
