"""A system's workers and its publisher, as processes: started, filled, held still, and asked what they have done."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from bench import processes
from bench.no_op.workers import Copies, Side
from bench.notes import FOLDER, NAME, Begun, begun
from bench.systems.system import OURS, STOCK, System
from bench.workers import PATIENCE, Bench

from switchyard.errors import SwitchyardError

#: Where Celery's publishers put a task: our default queue, and its own.
_QUEUES = {OURS: Side("default", 0), STOCK: Side("celery", 0)}
#: Both processes of a system must have run some messages before anything counts; so many are sent until they have.
_WARM_UP, _PROCESSES = 100, 2
_numbers = itertools.count(1)


class Running:
    """A system that runs. Its first messages are behind it, and all of its processes have had some."""

    def __init__(self, made: Bench, system: System, task: str, processes: int = _PROCESSES) -> None:
        self.made, self.system, self.task, self.sent = made, system, task, 0
        self.client = made.client()
        self.name = f"{system.family}-{next(_numbers)}"
        self.folder = made.folder / "notes"
        self.environment = {
            **system.environment, NAME: self.name, FOLDER: str(self.folder), "BENCH_COUNTER": f"redis://127.0.0.1:{made.port}/1",
        }  # fmt: skip
        (made.folder / "queues.toml").write_text(system.toml)
        # Before the workers: what a copy is made of passes through their queue.
        queue = _QUEUES.get(system.family)
        self.copies = Copies(made, queue, f"bench.{task}") if queue else None
        self.queue = queue.name if queue else ""
        self.publisher = made.start(
            f"{self.name}-publisher", [system.python, "-m", "bench.systems.publish", system.module], piped=True, **self.environment
        )  # fmt: skip
        self.workers = [self._worker(number, command) for number, command in enumerate(system.commands)]
        self._warm_up(processes)

    def _worker(self, number: int, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        name = f"{self.name}-{number}"
        own = {"STATE_DIR": str(self.made.folder / name), "NODE_HOST": name}
        return self.made.start(name, [*command], **self.environment, **own)

    def _warm_up(self, processes: int) -> None:
        end = time.monotonic() + PATIENCE
        while self.begun().processes < processes:
            self.send(_WARM_UP)
            self._wait(end)
        self._wait(end)

    def _wait(self, end: float) -> None:
        while self.begun().tasks < self.sent:
            for worker in self.workers:
                if worker.poll() is not None:
                    raise SwitchyardError(f"A worker of {self.system.name} ended:\n{self.made.log(self.name)[-2000:]}")
            if time.monotonic() > end:
                raise SwitchyardError(
                    f"{self.system.name} did not run its first {self.sent} tasks in {PATIENCE} s:\n{self.made.log(self.name)[-2000:]}"
                )
            time.sleep(0.02)

    def send(self, times: int = 1) -> tuple[float, float]:
        """Publish by its own publisher, in a process of its own; returns when that began and had ended."""
        assert self.publisher.stdin is not None  # noqa: S101
        assert self.publisher.stdout is not None  # noqa: S101
        self.publisher.stdin.write(f"{self.task} {times}\n".encode())
        self.publisher.stdin.flush()
        began, ended = map(float, self.publisher.stdout.readline().split())
        self.sent += times
        return began, ended

    def fill(self, times: int) -> None:
        """Publish many: Celery's, which would take as long as they take to run, as copies of one that its publisher has made."""
        if self.copies is None:
            self.send(times)
            return
        copies = islice(self.copies, times)
        while some := [*islice(copies, 1000)]:
            self.client.lpush(self.queue, *some)
        self.sent += times

    def begun(self) -> Begun:
        """What all of its processes have done so far."""
        return begun(self.folder, self.name)

    def left(self) -> int:
        """What the broker has of it that is not done, and acknowledged."""
        return self.system.left(self.client)

    def cpu(self) -> float:
        """Seconds of processor that its workers have had."""
        return sum(processes.cpu(worker.pid) for worker in self.workers)

    def signal(self, number: signal.Signals) -> None:
        """To all of its workers' processes."""
        for worker in self.workers:
            os.killpg(worker.pid, number)


@contextmanager
def running(made: Bench, system: System, task: str = "no_op") -> Iterator[Running]:
    """A system that is gone afterwards, whatever has happened."""
    before = len(made.processes)
    try:
        yield Running(made, system, task)
    finally:
        made.stop(made.processes[before:])
        made.client().flushall()


def settle(some: Running, patience: float = 5) -> int:
    """What is not acknowledged a while after the last task has run."""
    end = time.monotonic() + patience
    while (left := some.left()) and time.monotonic() < end:
        time.sleep(0.05)
    return left
