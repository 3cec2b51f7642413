"""Which runtime a deployment has: Docker Compose where an engine answers, else processes of this machine. Recorded at the first `make up`.

Only the standard library and our errors: scripts/run.py asks before anything is installed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from switchyard.errors import RuntimeRefusal

DOCKER, LOCAL = "docker", "local"

#: What a person calls them.
_NAMES = {DOCKER: "in Docker", LOCAL: "as processes of this machine"}


def choose(state_dir: Path, insisted: str | None) -> str:
    """The runtime for `make up`. Raises RuntimeRefusal when it would not be the one that was used before."""
    if insisted:
        return insisted
    kind, was_insisted = _read(state_dir)
    natural = kind if kind and was_insisted else _natural()
    if kind and kind != natural:
        reason = "no Docker engine answers now" if natural == LOCAL else "a Docker engine answers now"
        raise RuntimeRefusal(
            f"This deployment runs {_NAMES[kind]}, and {reason}, so it would begin anew {_NAMES[natural]}, without its queues "
            f"and products. Say RUNTIME={kind} to keep it (in .env, or once: make up RUNTIME={kind}), or RUNTIME={natural}."
        )
    return natural


def used(state_dir: Path, insisted: str | None) -> str:
    """The runtime for anything else: the one that `make up` has recorded, or would choose."""
    return insisted or _read(state_dir)[0] or _natural()


def record(state_dir: Path, kind: str, *, insisted: bool) -> None:
    """Keep the choice for later commands; one that was insisted on is not asked about again."""
    insisted = insisted or _read(state_dir) == (kind, True)
    (state_dir / "runtime").write_text(f"{kind} insisted\n" if insisted else f"{kind}\n")


def recorded(state_dir: Path) -> str | None:
    """The runtime of the last `make up`; None before the first."""
    return _read(state_dir)[0]


def _read(state_dir: Path) -> tuple[str | None, bool]:
    try:
        kind, *insisted = (state_dir / "runtime").read_text().split() or [""]
    except FileNotFoundError:
        # A deployment from before there was a choice has its queues here.
        return (LOCAL, False) if (state_dir / "redis").is_dir() else (None, False)
    except (OSError, UnicodeDecodeError):
        return None, False
    return (kind, bool(insisted)) if kind in _NAMES else (None, False)


def _natural() -> str:
    return DOCKER if engine_answers() else LOCAL


def engine_answers() -> bool:
    """Whether a Docker engine does, within seconds."""
    if shutil.which("docker") is None:
        return False
    try:
        command = ["docker", "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
