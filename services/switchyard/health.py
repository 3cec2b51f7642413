"""Readiness of a process, told by the process itself in a file; from outside, the file's age tells whether it still is."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: Seconds without a sign of life after which a process that gives them is taken for hung.
HEARTBEAT_S = 15.0
#: Seconds between two signs of life of a worker that works.
BEAT_S = 2.0
#: Seconds without one after which a worker is taken for stuck. Probed every 10 s, three times, one is noticed within a minute:
#: it stops giving them within `FETCH_S`.
STALE_S = 10.0
#: Seconds within which Redis must have answered a worker's last fetch, or the consumer's last look: each asks every five seconds at
#: least.
FETCH_S = 10.0


def program_name(queue: str) -> str:
    """The name of a queue's worker among the deployment's programs; no other program's name starts like this."""
    return f"worker-{queue}"


def queue_name(program: str) -> str | None:
    """The queue whose worker this program is; None for any other program."""
    return program.removeprefix("worker-") if program.startswith("worker-") else None


def ready_file(state_dir: Path, name: str) -> Path:
    """The file in which the process of program `name` says that it is ready."""
    return state_dir / "run" / f"{name}.ready"


def note_ready(state_dir: Path, name: str) -> None:
    """Say that this process is ready. The rename makes the file appear whole."""
    file = ready_file(state_dir, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(str(os.getpid()))
    draft.replace(file)


def is_ready(state_dir: Path, name: str, pid: int) -> bool:
    """Whether the process `pid` has said that it is ready; an older process' word does not count."""
    try:
        return bool(pid) and ready_file(state_dir, name).read_text() == str(pid)
    except (OSError, UnicodeDecodeError):
        return False


def is_beating(state_dir: Path, name: str, pid: int, *, within_s: float = HEARTBEAT_S) -> bool:
    """Whether the process `pid` has said so (`note_ready`) in the last `within_s` seconds: one that hangs does not."""
    try:
        return is_ready(state_dir, name, pid) and time.time() - ready_file(state_dir, name).stat().st_mtime < within_s
    except OSError:
        return False
