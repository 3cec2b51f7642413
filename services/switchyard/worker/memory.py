"""A prefork worker's memory, watched from its main process: beyond its queue's `memory`, the child that has most is killed.

A container's limit would let the kernel choose, and it may choose the main process; local processes have no such limit at
all. The killed child's task is given back and runs again, and the record of its workflow says why it was lost.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from switchyard.logs import get_logger
from switchyard.worker import stopping

#: Seconds between two looks while tasks run. What grows faster than this is noticed late.
LOOK = 0.25

log = get_logger(__name__)


@dataclass(frozen=True)
class Pool:
    """How to ask a worker's pool: the pids of its children, and of those that run a task; and whom to tell of a kill."""

    children: Callable[[], Iterable[int]]
    busy: Callable[[], Iterable[int]]
    tell: Callable[[int, str], None]


def watch(limit: int, pool: Pool) -> None:
    """Watch this process and its pool in a thread of its own, and keep what they use together below `limit` bytes.

    Before a child is killed, `pool.tell` gets its pid and a clause that says why. Linux only; elsewhere nothing is done.
    """
    if Path("/proc/self/smaps_rollup").exists():
        threading.Thread(target=_watch, args=(limit, pool), name="memory", daemon=True).start()


def _watch(limit: int, pool: Pool) -> None:
    while True:
        time.sleep(LOOK)
        try:
            _look(limit, pool)
        except Exception:
            if stopping.is_set():  # its pool has been closed
                return
            log.exception("memory_not_watched")


def _look(limit: int, pool: Pool) -> None:
    processes = [os.getpid(), *pool.children()]
    # Resident sizes count pages that processes share once for each; they are cheap, and never too small.
    if sum(map(resident, processes)) <= limit:
        return
    used = {pid: proportional(pid) for pid in processes}
    # Only a task's end gives memory back: a child that waits for one is left alone.
    busy = [pid for pid in pool.busy() if pid in used]
    if sum(used.values()) <= limit or not busy:
        return
    largest = max(busy, key=used.__getitem__)
    if largest not in pool.busy():  # its task has ended while it was looked at
        return
    log.error("memory_exceeded", pid=largest, used=used[largest], limit=limit)
    cause = f"it had {used[largest] // 1024**2} MB when its queue's memory of {limit // 1024**2} MB was used up"
    try:
        pool.tell(largest, cause)
    finally:  # whoever is told may be away, and memory does not wait
        os.kill(largest, signal.SIGKILL)


def resident(pid: int) -> int:
    """Resident bytes of a process, pages that it shares included; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def proportional(pid: int) -> int:
    """Resident bytes of a process, its part of shared pages only (proc(5), Pss); 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
