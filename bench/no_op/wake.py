"""From the moment a message is pushed onto an idle system to the first line of its task's body.

A worker of ours and one of kombu's wait at the same time, each in a database of its own. A push is one LPUSH of a message that is
made before, so that publishing, which is the same for both, does not blur what differs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.no_op.workers import OURS, POOLS, SIDES, STOCK, Copies, Side, Worker
from bench.numbers import median, p99
from bench.row import Row
from bench.section import out
from bench.waits import Waiting, waits_of
from bench.workers import Bench


def measure(made: Bench, pools: list[str], rounds: int, messages: int) -> Iterator[Row]:
    """The median and the 99th percentile of each pool, over all rounds' messages."""
    waits: dict[tuple[str, Side], list[float]] = {(pool, side): [] for pool in pools for side in SIDES}
    for number in range(rounds):
        for pool in pools:
            copies = {side: Copies(made, side) for side in SIDES}
            workers = {side: Worker(made, side, POOLS[pool]) for side in SIDES}
            some = waits_of(
                {side: _waiting(made, side, workers[side], copies[side]) for side in SIDES}, messages // rounds
            )
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


def _waiting(made: Bench, side: Side, worker: Worker, copies: Copies) -> Waiting:
    client = made.client(side.database)

    def send() -> float:
        message = next(copies)
        pushed = time.monotonic()
        client.lpush(side.name, message)
        return pushed

    return Waiting(send, worker.begun)
