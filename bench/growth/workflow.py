"""One workflow of many items that do nothing: how long each takes, and what they cost while they wait."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench.workers import Bench, wait_until

from switchyard import workflows
from switchyard.errors import SwitchyardError
from switchyard.workflows import record

#: What starts them, in a process of its own, whose memory is its own; and what runs them.
_TOML = """[queues.default]
tasks = ["*"]
[queues.starts]
tasks = ["starts.*"]
pool = "solo"
concurrency = 1
[queues.items]
tasks = ["items.*"]
pool = "gevent"
concurrency = 16
memory = "4G"
"""
#: Seconds a workflow may take per item, and to begin.
_PER_ITEM, _BEGIN = 0.02, 60


@dataclass(frozen=True)
class Grown:
    """Seconds from start to end; bytes of Redis per item that waits; bytes the starter has needed at most, and before."""

    items: int
    seconds: float
    waiting: float
    peak: int
    before: int

    @property
    def per_item(self) -> float:
        """Microseconds an item took, everything included."""
        return self.seconds * 1e6 / self.items


def grow(made: Bench, items: int) -> Grown:
    """The workflow twice: once with nobody to run its items, until all of them wait; and once with a worker that does."""
    made.environment["CELERY_APP"] = "bench.growth.tasks:app"
    (starter,) = made.workers(_TOML, "starts")
    first = _start(1)  # what a first one loads is none of its items'
    wait_until(lambda: _published(first), "a first workflow")
    before, empty = _peak(starter.pid), _used(made)
    waiting = _start(items)
    wait_until(lambda: _published(waiting), "all chunks to wait", patience=_BEGIN + _PER_ITEM * items)
    full, peak = _used(made), _peak(starter.pid)
    made.stop([starter])
    made.client().flushall()
    workers = made.workers(_TOML, "starts", "items")
    _start_and_wait(100)
    began = time.monotonic()
    _start_and_wait(items)
    seconds = time.monotonic() - began
    made.stop(workers)
    made.client().flushall()
    return Grown(items, seconds, (full - empty) / items, peak, before)


def _start(items: int) -> str:
    from switchyard.producer import app

    return workflows.start(app, "starts.spread", items=items)


def _start_and_wait(items: int) -> None:
    started = _start(items)
    wait_until(lambda: workflows.read(started).ended, f"{items:,} items", patience=_BEGIN + _PER_ITEM * items)
    meta = workflows.read(started)
    if meta.result != items:
        raise SwitchyardError(f"A workflow of {items:,} items ended with {meta.result!r}: {meta.reason or meta.state}.")


def _published(workflow_id: str) -> bool:
    meta = workflows.read(workflow_id)
    return meta.fanned_out and int(record.client().hget(record.meta_key(workflow_id), "published") or 0) == meta.chunks


def _used(made: Bench) -> int:
    return int(made.client().info("memory")["used_memory"])


def _peak(pid: int) -> int:
    """Bytes a process has had in memory at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
