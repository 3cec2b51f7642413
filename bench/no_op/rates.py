"""Tasks per second of a queue that is full, on a worker of ours and on one of kombu's.

Both run all the while, and one of them is stopped (SIGSTOP), by turns of half a second: a noisy moment is both's. What only waits
is not stopped, for its waiting would go on meanwhile; both run at the same time, and hardly need the processor.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from bench.no_op.workers import POOLS, SIDES, Copies, Pool, Side, Worker
from bench.numbers import median
from bench.row import Row
from bench.section import out
from bench.workers import Bench

#: Seconds of a turn, and messages that are enough for it.
_TURN, _ENOUGH = 0.5, 6000
#: Seconds of the first one, which does not count: what a first task loads is not repeated.
_WARM_UP = 1.0
#: What waits for nothing, and what does.
_NO_OP, _PAUSE = "bench.no_op", "bench.pause"


@dataclass(frozen=True)
class Found:
    """What a side has done in its turns: tasks, and seconds by the clock and of processor."""

    tasks: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Found) -> Found:
        return Found(self.tasks + other.tasks, self.seconds + other.seconds, self.cpu + other.cpu)

    def __sub__(self, other: Found) -> Found:
        return Found(self.tasks - other.tasks, self.seconds - other.seconds, self.cpu - other.cpu)

    @property
    def rate(self) -> float:
        """Tasks per second."""
        return self.tasks / self.seconds if self.seconds else 0.0

    @property
    def cost(self) -> float:
        """Microseconds of processor per task, the worker's."""
        return self.cpu * 1e6 / self.tasks if self.tasks else 0.0


@dataclass
class Case:
    """A pool, how many messages it may hold, the task it runs, and how much faster ours must be."""

    pool: Pool
    prefetch: int
    required: float | None
    task: str = _NO_OP
    #: Ours and kombu's, per round.
    rounds: list[tuple[Found, Found]] = field(default_factory=list)

    def __str__(self) -> str:
        what = "50 ms tasks" if self.task == _PAUSE else "no-op tasks"
        return f"{what}, {self.pool}, prefetch {self.prefetch}"

    def rows(self) -> Iterator[Row]:
        """The medians of the rounds, and of their ratios."""
        for unit, name, required in (("tasks/s", "rate", self.required), ("µs CPU/task", "cost", None)):
            pairs = [(getattr(ours, name), getattr(stock, name)) for ours, stock in self.rounds]
            ratio = median(ours / stock for ours, stock in pairs if stock)
            ours, stock = (median(values) for values in zip(*pairs, strict=True))
            yield Row(str(self), unit, ours, stock, at_least=required, paired=ratio)


def cases(pools: Iterable[str]) -> Iterator[Case]:
    """What is measured of these pools, with what is required of ours."""
    required = {"solo": (6, 3), "threads": (6, 4), "prefork": (3, 1.9), "gevent": (4, 4.5)}
    for pool in (POOLS[name] for name in pools):
        many, one = required[pool.name]
        yield Case(pool, 64, many)
        yield Case(pool, pool.slots, one)
        if pool.name == "gevent":
            # Where kombu's poller has no credit, and sleeps.
            yield Case(Pool("gevent", 20), 20, None, _PAUSE)


def measure(made: Bench, pools: list[str], rounds: int, seconds: float) -> Iterator[Row]:
    """The rates of every case, by turns."""
    all_cases = list(cases(pools))
    for number in range(rounds):
        for case in all_cases:
            race = Race(made, case)
            ours, stock = race.run(turns_of(seconds))
            case.rounds.append((ours, stock))
            out.print(
                f"round {number + 1} of {rounds}: {case}: {ours.rate:,.0f}/s beside {stock.rate:,.0f}/s, "
                f"{ours.cost:,.0f} µs of processor beside {stock.cost:,.0f}{race.oddities()}"
            )
            race.end()
    for case in all_cases:
        yield from case.rows()


def turns_of(seconds: float) -> int:
    """How many turns that is."""
    return max(1, round(seconds / _TURN))


class Race:
    """A worker of each side, with queues that do not run empty."""

    def __init__(self, made: Bench, case: Case, sides: tuple[Side, Side] = SIDES) -> None:
        self.made, self.case, self.sides = made, case, sides
        self.copies = {side: Copies(made, side, case.task) for side in sides}
        self.pushed = dict.fromkeys(sides, 0)
        self.workers = {side: Worker(made, side, case.pool, case.prefetch) for side in sides}

    def run(self, turns: int) -> tuple[Found, Found]:
        """What each side has done in its turns, in their order."""
        if self.case.task == _PAUSE:
            self._fill(*self.sides)
            time.sleep(_WARM_UP)
            found = self._turn(self.sides, 2 * turns * _TURN)
        else:
            self._signal(signal.SIGSTOP)
            found = dict.fromkeys(self.sides, Found())
            for side in self.sides:
                self._turn_alone(side, _WARM_UP)
            for number in range(turns):
                for side in self.sides if number % 2 else reversed(self.sides):
                    found[side] += self._turn_alone(side, _TURN)
        one, other = found.values()
        return one, other

    def oddities(self) -> str:
        """What makes a rate doubtful, for the line that says it: nothing may stay behind, and nothing run twice."""
        self._signal(signal.SIGSTOP)
        left = {side: self.made.client(side.database).llen(side.name) for side in self.sides}
        for side in self.sides:
            self.made.client(side.database).delete(side.name)
        self._signal(signal.SIGCONT)
        end, said = time.monotonic() + 5, ""
        for side, worker in self.workers.items():
            client = self.made.client(side.database)
            while (held := client.hlen("unacked")) and time.monotonic() < end:
                time.sleep(0.05)
            more = worker.begun().tasks - (self.pushed[side] - left[side])
            said += f" ({side.name}: {held:,} NOT ACKNOWLEDGED)" if held else ""
            said += f" ({side.name}: {more:+,} TASKS)" if more else ""
        return said

    def end(self) -> None:
        """Stop both, and forget what they have left."""
        for worker in self.workers.values():
            worker.stop()
        self.made.client().flushall()

    def _turn_alone(self, side: Side, seconds: float) -> Found:
        self._fill(side)
        self._signal(signal.SIGCONT, side)
        found = self._turn([side], seconds)[side]
        self._signal(signal.SIGSTOP, side)
        return found

    def _turn(self, sides: Iterable[Side], seconds: float) -> dict[Side, Found]:
        before = {side: self._so_far(side) for side in sides}
        time.sleep(seconds)
        return {side: self._so_far(side) - early for side, early in before.items()}

    def _so_far(self, side: Side) -> Found:
        worker = self.workers[side]
        return Found(worker.begun().tasks, time.monotonic(), worker.cpu())

    def _fill(self, *sides: Side) -> None:
        for side in sides:
            client = self.made.client(side.database)
            if missing := max(0, _ENOUGH - client.llen(side.name)):
                client.lpush(side.name, *islice(self.copies[side], missing))
                self.pushed[side] += missing

    def _signal(self, number: int, *sides: Side) -> None:
        for side in sides or self.sides:
            os.killpg(self.workers[side].process.pid, number)
