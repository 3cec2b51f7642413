"""Readiness of a process, told by the process itself in a file: its pid, and the config it runs with."""

from __future__ import annotations

import json
import os
from pathlib import Path

from switchyard.settings import environment

#: Set by launch.py in the worker it becomes.
FINGERPRINT = "SWITCHYARD_FINGERPRINT"


def program_name(queue: str) -> str:
    """The name of a queue's worker among the deployment's programs; no other program's name starts like this."""
    return f"worker-{queue}"


def ready_file(state_dir: Path, name: str) -> Path:
    """The file in which the process of program `name` says that it is ready."""
    return state_dir / "run" / f"{name}.ready"


def note_ready(state_dir: Path, name: str) -> None:
    """Say that this process is ready. The rename makes the file appear whole."""
    file = ready_file(state_dir, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"pid": os.getpid(), "fingerprint": environment().get(FINGERPRINT, "")}))
    draft.replace(file)


def is_ready(state_dir: Path, name: str, pid: int) -> bool:
    """Whether the process `pid` has said that it is ready; an older process' word does not count."""
    return bool(pid) and _said(state_dir, name).get("pid") == pid


def fingerprint(state_dir: Path, name: str) -> str:
    """The config the process of `name` was last started with."""
    return str(_said(state_dir, name).get("fingerprint", ""))


def _said(state_dir: Path, name: str) -> dict[str, object]:
    try:
        found = json.loads(ready_file(state_dir, name).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
