"""Commands that Redis executes for workers that have nothing to do, and for one message that wakes a herd of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from bench.no_op.monitor import Seen, watch
from bench.no_op.workers import OURS, POOLS, SIDES, STOCK, Copies, Pool, Side, Worker
from bench.row import Row
from bench.section import out
from bench.workers import Bench, wait_until

#: Seconds a worker has after its start until it counts as idle, and for how long that is then watched.
_START, _WATCHED = 3, 15
#: Seconds after the first start in an empty database until all that workers do in turn is done in turn: a lease, and some.
_SETTLED = 35
#: Messages that wake the herd, and the seconds until it is surely quiet again.
_WAKES, _QUIET = 20, 1.0


class Rates(NamedTuple):
    """Commands, of clients and inside scripts."""

    sent: float
    inside: float

    def minus(self, other: Rates, times: float) -> Rates:
        """What is left without `times` the other."""
        return Rates(self.sent - other.sent * times, self.inside - other.inside * times)

    def per(self, divisor: float) -> Rates:
        """A share of it."""
        return Rates(self.sent / divisor, self.inside / divisor)


def _rates(seen: Seen) -> Rates:
    return Rates(seen.sent.total(), seen.inside.total())


def idle(made: Bench, pools: list[str]) -> Iterator[Row]:
    """Commands per second of one idle worker of each pool."""
    found: dict[str, dict[Side, Rates]] = {pool: {} for pool in pools}
    for side in SIDES:
        settled = time.monotonic() + _SETTLED
        for pool in pools:
            worker = Worker(made, side, POOLS[pool])
            time.sleep(max(_START, settled - time.monotonic()))
            found[pool][side] = _idle(made, f"idle, {pool}: {side.name}")
            worker.stop()
        made.client().flushall()
    for pool in pools:
        yield from _rows(f"idle, {POOLS[pool]}", "/s", found[pool], own_at_most=2)


def herd(made: Bench, workers: int) -> Iterator[Row]:
    """Commands per message that wakes one of many idle solo workers of one queue, and per second of each while none does."""
    idles: dict[Side, Rates] = {}
    wakes: dict[Side, Rates] = {}
    for side in SIDES:
        out.print(f"herd: {side.name}: starting {workers} workers")
        settled = time.monotonic() + _SETTLED
        copies = Copies(made, side)
        running = [Worker(made, side, Pool("solo", 1)) for _ in range(workers)]
        time.sleep(max(_START, settled - time.monotonic()))
        whole = _idle(made, f"herd of {workers}, idle: {side.name}")
        idles[side] = whole.per(workers)
        wakes[side] = _wakes(made, side, running, copies, whole)
        made.stop([worker.process for worker in running])
        made.client().flushall()
    yield from _rows(f"idle, each of {workers} solo", "/s", idles, own_at_most=2)
    yield from _rows(f"herd, {workers} solo idle", "/message", wakes, own_at_most=40, of_all=40)


def _idle(made: Bench, what: str) -> Rates:
    seen, seconds = watch(made.port, lambda: time.sleep(_WATCHED))
    out.print(f"{what}: in {seconds:.0f} s {seen}")
    return _rates(seen).per(seconds)


def _wakes(made: Bench, side: Side, workers: list[Worker], copies: Copies, idle: Rates) -> Rates:
    client = made.client(side.database)
    client.ping()  # a connection's greeting is not the herd's

    def wake(messages: int) -> None:
        for _ in range(messages):
            client.lpush(side.name, next(copies))
            time.sleep(_QUIET)

    wake(3)  # what first tasks load and register is not repeated
    seen, seconds = watch(made.port, lambda: wake(_WAKES))
    wait_until(lambda: sum(w.begun().tasks for w in workers) >= _WAKES + 3, "the herd to run all tasks", patience=5)
    out.print(f"herd: {side.name}: {_WAKES} messages in {seconds:.0f} s, idle ones included: {seen}")
    return _rates(seen).minus(idle, seconds).per(_WAKES)


def _rows(
    what: str, unit: str, found: dict[Side, Rates], *, own_at_most: float, of_all: float | None = None
) -> Iterator[Row]:
    ours, stock = found[OURS], found[STOCK]
    yield Row(f"{what}: sent", unit, ours.sent, stock.sent, own_at_most=own_at_most)
    yield Row(f"{what}: with scripts'", unit, sum(ours), sum(stock), own_at_most=of_all)
