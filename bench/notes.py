"""What a worker's processes tell the bench, in files: when they ran tasks, and which transport they have. The broker is not kept busy with it.

Only the standard library: workers of other projects run in an environment without ours.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

#: In a worker's environment: its name, the folder of its notes, how many messages it may hold, and a file that its tasks wait for.
NAME, FOLDER, PREFETCH, GATE = "BENCH_NAME", "BENCH_FOLDER", "BENCH_PREFETCH", "BENCH_GATE"
#: When a process began its last task, by the clock that all processes share, and how many it has begun. The number comes
#: last, so that whoever sees it sees the time that belongs to it.
_NOTE = struct.Struct("dq")
_making = Lock()


class Begun(NamedTuple):
    """What a worker's processes have noted."""

    tasks: int
    last: float
    #: Of how many processes.
    processes: int


class Note:
    """One process' note, in a file that it shares with whoever reads it."""

    def __init__(self, state_dir: Path, name: str, pid: int) -> None:
        file = _folder(state_dir, name) / str(pid)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(_NOTE.size))
        with file.open("r+b") as opened:
            self.shared = mmap.mmap(opened.fileno(), _NOTE.size)
        self.lock, self.tasks, self.passed = Lock(), 0, False

    def passes(self) -> bool:
        """Whether its gate is open: asked for each task, and once open it stays so."""
        self.passed = self.passed or not (gate := os.environ.get(GATE)) or Path(gate).exists()
        return self.passed

    def add(self) -> None:
        """A task begins."""
        now = time.monotonic()
        with self.lock:
            self.tasks += 1
            _NOTE.pack_into(self.shared, 0, now, self.tasks)


@cache
def _made(state_dir: Path, name: str, pid: int) -> Note:
    return Note(state_dir, name, pid)


def note_of(state_dir: Path, name: str, pid: int) -> Note:
    """The note of a process; by its pid, because a child must not write its parent's."""
    with _making:  # a cache does not keep two threads from making one each
        return _made(state_dir, name, pid)


def note() -> None:
    """A task has run in this process, whose environment says where that is noted; the first ones wait until its gate is open."""
    noted = _own.get(os.getpid()) or _noted()
    while not noted.passes():
        time.sleep(0.005)
    noted.add()


#: By its pid, the note of this process: what a task notes must cost next to nothing beside the task.
_own: dict[int, Note] = {}


def _noted() -> Note:
    found = _own[os.getpid()] = note_of(Path(os.environ[FOLDER]), os.environ[NAME], os.getpid())
    return found


def arrived(state_dir: Path, name: str) -> int:
    """Processes of the worker `name` that have begun a task."""
    return len(list(_folder(state_dir, name).glob("*")))


def begun(state_dir: Path, name: str) -> Begun:
    """What all processes of the worker `name` have done so far."""
    notes = [_NOTE.unpack(file.read_bytes()) for file in _folder(state_dir, name).glob("*") if file.stat().st_size]
    return Begun(
        sum(tasks for _, tasks in notes), max((last for last, _ in notes), default=0.0), sum(t > 0 for _, t in notes)
    )


def _folder(state_dir: Path, name: str) -> Path:
    return state_dir / "begun" / name


def transport_file(state_dir: Path, name: str) -> Path:
    """Where the worker `name` says which class its transport is."""
    return state_dir / f"{name}.transport"
