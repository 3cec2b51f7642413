"""What is derived from queues.toml and kept in the repository: written by `make render`, compared by `make render CHECK=1`."""

from __future__ import annotations

from pathlib import Path

from switchyard.queues import Queues
from switchyard.render import readme, supervisor


def rendered(queues: Queues, config_dir: Path) -> dict[Path, str]:
    """Every rendered file's path and what it should hold."""
    readme_file = config_dir.parent / "README.md"
    files = {config_dir / "supervisor" / "queues.conf": supervisor.programs(queues)}
    if readme_file.exists():
        files[readme_file] = readme.with_table(readme_file.read_text(), queues)
    return files


def stale(queues: Queues, config_dir: Path) -> list[Path]:
    """The rendered files that are not what queues.toml says."""
    return [
        path for path, text in rendered(queues, config_dir).items() if not path.exists() or path.read_text() != text
    ]


def name(path: Path, config_dir: Path) -> str:
    """A rendered file as a person would name it."""
    return str(path.relative_to(config_dir.parent))


def write(queues: Queues, config_dir: Path) -> list[Path]:
    """Write what is stale; returns what was written."""
    changed = stale(queues, config_dir)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered(queues, config_dir)[path])
    return changed
