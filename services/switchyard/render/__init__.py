"""What is derived from queues.toml and kept in the repository: written by `make render`, compared by `make render CHECK=1`."""

from __future__ import annotations

from pathlib import Path

from switchyard.queues import Queues
from switchyard.render import readme, supervisor

#: The rendered files, by their path below the root of the checkout.
SUPERVISOR = Path("config/supervisor/queues.conf")
README = Path("README.md")


def rendered(queues: Queues, root: Path) -> dict[Path, str]:
    """Every rendered file's path and what it should hold."""
    readme_file = root / README
    files = {root / SUPERVISOR: supervisor.programs(queues)}
    if readme_file.exists():
        files[readme_file] = readme.with_table(readme_file.read_text(), queues)
    return files


def stale(queues: Queues, root: Path) -> list[Path]:
    """The rendered files that are not what queues.toml says."""
    return [path for path, text in rendered(queues, root).items() if not path.exists() or path.read_text() != text]


def write(queues: Queues, root: Path) -> list[Path]:
    """Write what is stale; returns what was written."""
    changed = stale(queues, root)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered(queues, root)[path])
    return changed
