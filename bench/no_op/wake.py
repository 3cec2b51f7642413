"""From the moment a message is pushed onto an idle system to the first line of its task's body.

A worker of ours and one of kombu's wait at the same time, each in a database of its own, and messages go to one or the other by
chance: a noisy moment is both's. A push is one LPUSH of a message that is made before, so that publishing, which is the same
for both, does not blur what differs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from bench.no_op.row import Row
from bench.no_op.workers import OURS, POOLS, SIDES, STOCK, Copies, Side, Worker
from bench.numbers import median, p99
from bench.section import out
from bench.workers import Bench, wait_until

#: Seconds between two messages: long enough for everybody to be idle again, not long enough to be boring.
_GAPS = (0.03, 0.15)
#: Messages that are not counted: what a first task loads is no wait.
_WARM_UP = 5


def measure(made: Bench, pools: list[str], rounds: int, messages: int) -> Iterator[Row]:
    """The median and the 99th percentile of each pool, over all rounds' messages."""
    waits: dict[tuple[str, Side], list[float]] = {(pool, side): [] for pool in pools for side in SIDES}
    for number in range(rounds):
        for pool in pools:
            copies = {side: Copies(made, side) for side in SIDES}
            workers = {side: Worker(made, side, POOLS[pool]) for side in SIDES}
            some = _waits(made, workers, copies, messages // rounds)
            for side in SIDES:
                waits[pool, side] += some[side]
                worker = workers[side]
                worker.stop()
                out.print(
                    f"round {number + 1} of {rounds}: wake, {pool}: {side.name} p50 {median(some[side]):.2f} ms, "
                    f"p99 {p99(some[side]):.2f} ms"
                )
            made.client().flushall()
    for pool in pools:
        ours, stock = waits[pool, OURS], waits[pool, STOCK]
        yield Row(f"wake, {POOLS[pool]}", "p50 ms", median(ours), median(stock))
        yield Row(f"wake, {POOLS[pool]}", "p99 ms", p99(ours), p99(stock), at_most=1.1)


def _waits(
    made: Bench, workers: dict[Side, Worker], copies: dict[Side, Copies], messages: int
) -> dict[Side, list[float]]:
    """Milliseconds of each message that counts."""
    clients = {side: made.client(side.database) for side in SIDES}
    waits: dict[Side, list[float]] = {side: [] for side in SIDES}
    order = [side for side in SIDES for _ in range(_WARM_UP + messages)]
    random.shuffle(order)
    sent = dict.fromkeys(SIDES, 0)
    for side in order:
        message = next(copies[side])
        time.sleep(random.uniform(*_GAPS))
        pushed = time.monotonic()
        clients[side].lpush(side.name, message)
        sent[side] += 1
        time.sleep(_GAPS[0])  # nobody looks before it is done, on a machine of few processors
        wait_until(lambda side=side: workers[side].begun().tasks >= sent[side], "a task to begin")  # type: ignore[misc]
        waits[side].append(1000 * (workers[side].begun().last - pushed))
    return {side: some[_WARM_UP:] for side, some in waits.items()}
