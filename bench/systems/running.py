"""A system's workers and its publisher, as processes: filled, started, and asked what they have done."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from bench import processes
from bench.no_op.workers import Copies, Side
from bench.notes import FOLDER, GATE, NAME, Begun, arrived, begun
from bench.systems.publisher import Publisher
from bench.systems.system import OURS, STOCK, System
from bench.workers import PATIENCE, Bench

from switchyard.errors import SwitchyardError

#: Where Celery's publishers put a task: our default queue, and its own.
_QUEUES = {OURS: "default", STOCK: "celery"}
_numbers = itertools.count(1)


class Running:
    """A system with its publisher, and with its workers as soon as they are started."""

    def __init__(self, made: Bench, system: System, task: str) -> None:
        self.made, self.system, self.task, self.sent = made, system, task, 0
        self.client = made.client(system.database)
        self.name = f"{system.family}-{next(_numbers)}"
        self.folder, self.gate = made.folder / "notes", made.folder / f"{self.name}.gate"
        self.environment = {
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{made.port}/{system.database}", "BENCH_COUNTER": f"redis://127.0.0.1:{made.port}/1",
            **system.environment, NAME: self.name, FOLDER: str(self.folder),
        }  # fmt: skip
        if system.toml:
            (made.folder / "queues.toml").write_text(system.toml)
        self.publisher = Publisher(made, self.name, system.python, system.module, self.environment)
        self.workers: list[subprocess.Popen[bytes]] = []

    def send(self, times: int = 1) -> tuple[float, float]:
        """Publish by its own publisher, in a process of its own; returns when that began and had ended."""
        began, ended = self.publisher.send(self.task, times)
        self.sent += times
        return began, ended

    def fill(self, times: int) -> None:
        """Publish many, before the workers are started: Celery's, which would take long, as copies of one that was published."""
        if (queue := _QUEUES.get(self.system.family)) is None:
            self.send(times)
            return
        copies = islice(Copies(self.made, Side(queue, self.system.database), f"bench.{self.task}"), times)
        while some := [*islice(copies, 1000)]:
            self.client.lpush(queue, *some)
        self.sent += times

    def start(self, *, gated: bool = False) -> None:
        """Start the workers; gated, their tasks wait until `open`."""
        gate = {GATE: str(self.gate)} if gated else {}
        for number, command in enumerate(self.system.commands):
            name = f"{self.name}-{number}"
            own = {"STATE_DIR": str(self.made.folder / name), "NODE_HOST": name}
            self.workers.append(self.made.start(name, [*command], **self.environment, **gate, **own))

    def open(self) -> float:
        """Let the tasks run, and say since when."""
        now = time.monotonic()
        self.gate.touch()
        return now

    def wait_for_processes(self, processes: int) -> None:
        """Until so many have begun a task. Raises SwitchyardError when they do not."""
        self.wait(lambda: arrived(self.folder, self.name) >= processes, f"{processes} processes to begin a task")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until it holds. Raises SwitchyardError when it does not, or a worker has ended."""
        end = time.monotonic() + PATIENCE
        while not condition():
            late, ended = (
                time.monotonic() > end,
                [worker.poll() for worker in self.workers if worker.poll() is not None],
            )
            if late or ended:
                why = f"a worker ended with {ended[0]}" if ended else f"{PATIENCE} s were not enough"
                raise SwitchyardError(f"Waited in vain for {what}: {why}.\n{self.made.log(self.name)[-2000:]}")
            time.sleep(0.02)

    def begun(self) -> Begun:
        """What all of its processes have done so far."""
        return begun(self.folder, self.name)

    def left(self) -> int:
        """What the broker has of it that is not done, and acknowledged."""
        return self.system.left(self.client)

    def cpu(self) -> float:
        """Seconds of processor that its workers have had."""
        return sum(processes.cpu(worker.pid) for worker in self.workers)


@contextmanager
def running(made: Bench, system: System, task: str = "no_op") -> Iterator[Running]:
    """A system that is gone afterwards, whatever has happened."""
    before = len(made.processes)
    try:
        yield Running(made, system, task)
    finally:
        made.stop(made.processes[before:])
        made.client(system.database).flushdb()


def settle(some: Running, patience: float = 5) -> int:
    """What is not acknowledged a while after the last task has run."""
    end = time.monotonic() + patience
    while (left := some.left()) and time.monotonic() < end:
        time.sleep(0.05)
    return left
