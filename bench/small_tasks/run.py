"""One run of one system: a full queue in, its rate out, with what makes that doubtful."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.systems.running import Running, running, settle
from bench.systems.system import System
from bench.workers import Bench

#: Seconds without any task after which what is missing does not come.
_PATIENCE = 10.0


@dataclass(frozen=True)
class Run:
    """Tasks per second; microseconds of the workers' processor per task; tasks too many, or missing; messages not acknowledged."""

    rate: float
    cost: float
    more: int = 0
    left: int = 0

    @property
    def oddities(self) -> str:
        """For the line that says the rate; nothing may be lost, run twice, or stay behind."""
        said = [f"{self.more:+,} TASKS"] if self.more else []
        return "".join(f" ({words})" for words in [*said, *([f"{self.left:,} NOT ACKNOWLEDGED"] if self.left else [])])


def measure(made: Bench, system: System, task: str, tasks: int) -> Run:
    """Fill its queue, start its workers, open the gate that their first tasks wait at, and see how fast the rest is done.

    So no start counts, and both processes begin at the same moment. The first tenth does not count either: what is fetched
    ahead before the gate opens is no work of that time, and what first tasks load is not repeated.
    """
    with running(made, system, task) as some:
        some.fill(tasks)
        some.start(gated=True)
        some.wait_for_processes(2)
        some.open()
        _wait(some, tasks // 10)
        early, began, cpu = some.begun().tasks, time.monotonic(), some.cpu()
        _wait(some, tasks)
        counted, cpu = max(1, tasks - early), some.cpu() - cpu  # few tasks may be over before they are looked at
        last = some.begun().last
        left = settle(some)  # and what runs twice has time to
        more = some.begun().tasks - some.sent
    return Run(counted / max(last - began, 1e-3), cpu * 1e6 / counted, more, left)


def _wait(some: Running, tasks: int) -> None:
    done, moved = 0, time.monotonic()
    while done < tasks and time.monotonic() < moved + _PATIENCE:
        time.sleep(0.01)
        if (now := some.begun().tasks) > done:
            done, moved = now, time.monotonic()
