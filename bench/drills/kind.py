"""A kind of drill: what it does, how large its short and its full form are, and the Redis that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import Server

if TYPE_CHECKING:
    from bench.drills.outcome import Outcome
    from bench.drills.site import Site


@dataclass(frozen=True)
class Options:
    """How large a drill is to be: blows, messages of a flood, seconds of a pause, leases of a long task, and delayed tasks with the
    seconds over which they are due, and items of a workflow.
    """

    pools: tuple[str, ...]
    rounds: int = 1
    messages: int = 5_000
    pause: float = 8.0
    leases: float = 3.0
    delayed: int = 800
    items: int = 300
    spread: float = 20.0
    fsync: str = "everysec"


class Skipped(Exception):
    """What a drill needs is not here; its message is a sentence and a next step."""


@contextmanager
def plain_server(folder: Path, options: Options) -> Iterator[Server]:
    """A Redis that keeps an append-only file."""
    server = Server(folder, "--appendfsync", options.fsync)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class Kind:
    """A drill by name. `rounds` are the blows of its short and of its full form."""

    name: str
    run: Callable[[Site, Options], list[Outcome]]
    rounds: tuple[int, int] = (1, 1)
    pools: tuple[str, ...] = ("solo", "threads", "gevent", "prefork")
    server: Callable[[Path, Options], AbstractContextManager[Server]] = plain_server

    @property
    def sentence(self) -> str:
        """What it does."""
        return (self.run.__doc__ or "").split("\n\n")[0].replace("\n    ", " ")
