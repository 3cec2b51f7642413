"""What is derived from queues.toml and kept in the repository: written by `make render`, compared by `make render CHECK=1`."""

from __future__ import annotations

from pathlib import Path

from switchyard import queues
from switchyard.render import compose, readme, supervisor


def rendered(config_dir: Path) -> dict[Path, str]:
    """Every rendered file's path and what it should hold.

    The environment's overrides are run-time keys and in none of them; a machine's queues.local.toml is not in the README.
    """
    readme_file, containers = config_dir.parent / "README.md", config_dir.parent / "compose"
    found = queues.load(config_dir, {})
    files = {config_dir / "supervisor" / "queues.conf": supervisor.programs(found)}
    if containers.is_dir():
        files |= {containers / "queues.yml": compose.queues(found), containers / "dev.yml": compose.dev(found)}
    if readme_file.exists():
        files[readme_file] = readme.with_table(readme_file.read_text(), queues.load(config_dir, {}, amended=False))
    return files


def stale(config_dir: Path) -> list[Path]:
    """The rendered files that are not what queues.toml says."""
    return [path for path, text in rendered(config_dir).items() if not path.exists() or path.read_text() != text]


def name(path: Path, config_dir: Path) -> str:
    """A rendered file as a person would name it."""
    return str(path.relative_to(config_dir.parent))


def write(config_dir: Path) -> list[Path]:
    """Write what is stale; returns what was written."""
    texts, changed = rendered(config_dir), stale(config_dir)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[path])
    return changed
