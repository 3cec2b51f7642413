"""Drills in which a worker lives on, but not for Redis: it is stopped, or cut off, for longer than its lease."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from bench.drills.kind import Options
from bench.drills.ledger import Kill
from bench.drills.outcome import Outcome
from bench.drills.proxy import Proxy
from bench.drills.site import LEASE, SLOTS, Site, Worker, patiently

#: Seconds of the interruption: the lease lapses in the middle of it.
AWAY = 2 * LEASE
#: Seconds of a task: it ends while its worker is away, and its next worker still runs it when that one is back.
LENGTH = 2 * LEASE


class Blow(NamedTuple):
    """What takes a worker away, and what brings it back."""

    begin: Callable[[], None]
    end: Callable[[], None]


def paused(site: Site, options: Options) -> list[Outcome]:
    """Stop a worker (SIGSTOP) for twice its lease, then let it go on: it must not undo what has been done without it."""
    first = {pool: site.start(pool) for pool in options.pools}
    blows = [Blow(partial(w.signal, signal.SIGSTOP), partial(w.signal, signal.SIGCONT)) for w in first.values()]
    return _interrupt("paused", site, options, first, blows)


def cut_off(site: Site, options: Options) -> list[Outcome]:
    """Let a worker's connections to Redis go silent for twice its lease: nothing is closed, and nothing comes through."""
    with _behind_proxies(site, options) as (first, proxies):
        blows = [Blow(proxy.silence, proxy.restore) for proxy in proxies]
        return _interrupt("cut-off", site, options, first, blows)


def refused(site: Site, options: Options) -> list[Outcome]:
    """As cut-off, but a worker's connections are closed, and each new one at once."""
    with _behind_proxies(site, options) as (first, proxies):
        blows = [Blow(proxy.refuse, proxy.restore) for proxy in proxies]
        return _interrupt("refused", site, options, first, blows)


@contextmanager
def _behind_proxies(site: Site, options: Options) -> Iterator[tuple[dict[str, Worker], list[Proxy]]]:
    proxies = {pool: Proxy(site.server.port) for pool in options.pools}
    try:
        first = {
            pool: site.start(pool, CELERY_BROKER_URL=f"redis://127.0.0.1:{proxy.port}/0")
            for pool, proxy in proxies.items()
        }
        yield first, list(proxies.values())
    finally:
        for proxy in proxies.values():
            proxy.close()


def _interrupt(drill: str, site: Site, options: Options, first: dict[str, Worker], blows: list[Blow]) -> list[Outcome]:
    """The first workers take all there is and go away; the second ones take over, and are still at it at their return."""
    second = [site.start(pool) for pool in options.pools]
    site.ready()
    # The second ones are not to take any of it: a worker of an idle queue does nothing while it is stopped.
    for worker in second:
        worker.signal(signal.SIGSTOP)
    for pool, worker in first.items():
        _fill(site, pool, worker)
    began = time.monotonic()
    for blow in blows:
        blow.begin()
    for worker in second:
        worker.signal(signal.SIGCONT)
    site.kills += [Kill(pool, worker.pid, began) for pool, worker in first.items()]
    away = [worker.pid for worker in first.values()]
    site.say("its workers are away")
    unrecorded = _watch(site, away, lambda: time.monotonic() - began > AWAY)
    for blow in blows:
        blow.end()
    site.say("its workers are back")
    end = time.monotonic() + 6 * LEASE
    # What the first ones go on with has no record any more, nor need it: what the second ones run must keep its own.
    unrecorded |= _watch(site, away, lambda: not _open(site) or time.monotonic() > end)
    site.drain()
    outcomes = []
    for pool, worker in first.items():
        outcome = site.outcome(drill, pool)
        outcome.bound = SLOTS[pool]
        outcome.recoveries = site.ledger.took_over(site.kills, pool)
        outcome.lose_nothing()
        outcome.must(outcome.set_aside == 0, f"{outcome.set_aside} tasks were set aside that any worker could run")
        undone = sorted(name for name in unrecorded if name.startswith(f"{pool}."))
        outcome.must(not undone, f"{len(undone)} tasks ran on without a record of it ({', '.join(undone[:3])})")
        outcome.must(worker.process.poll() is None, "the worker that was away has ended")
        outcomes.append(outcome)
    return outcomes


def _fill(site: Site, pool: str, worker: Worker) -> None:
    """Fill a worker's slots; a stopped one's connection may take a message as well, on the stock transport."""
    for _ in range(SLOTS[pool]):
        site.publisher.send(pool, "drill.work", LENGTH)
    while not patiently(lambda: len(site.ledger.running(worker.pid)) >= SLOTS[pool], 6):
        if len(site.publisher.names(pool)) > 2 * SLOTS[pool]:
            return
        site.publisher.send(pool, "drill.work", LENGTH)


def _open(site: Site) -> list[str]:
    """What has not ended, or runs once more."""
    ledger = site.ledger.read()
    again = [
        name for workers in site.workers.values() for worker in workers for name in list(ledger.in_hand[worker.pid])
    ]
    return again or ledger.lost(site.publisher.accepted)


def _watch(site: Site, away: list[int], over: Callable[[], bool]) -> set[str]:
    """Until it is over: what a worker that is not away runs, and what no record says it runs."""
    unrecorded: set[str] = set()
    while not over():
        held = [worker.pid for workers in site.workers.values() for worker in workers if worker.pid not in away]
        before = {entry.name for pid in held for entry in site.ledger.running(pid)}
        recorded = site.unacknowledged()
        after = {entry.name for pid in held for entry in site.ledger.running(pid)}
        unrecorded |= (before & after) - recorded
        time.sleep(0.1)
    return unrecorded
