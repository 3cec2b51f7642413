"""Drills in which nobody dies: tasks that are longer than their lease run exactly once, whatever else happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from bench.drills.kind import Options
from bench.drills.outcome import Outcome
from bench.drills.site import LEASE, SLOTS, Site
from bench.workers import wait_until


def long(site: Site, options: Options) -> list[Outcome]:
    """Let tasks compute in pure Python for many leases, beside an idle worker of their queue: each runs exactly once."""
    return undisturbed("long", site, options, lambda: None, seconds=options.leases * LEASE, computing=True)


def undisturbed(
    drill: str,
    site: Site,
    options: Options,
    blow: Callable[[], None],
    *,
    seconds: float,
    computing: bool = False,
    backlog: int = 0,
) -> list[Outcome]:
    """Fill the slots of one worker of two with tasks of so many seconds, strike, and see that each has run once.

    `computing`: one of them computes, the others sleep. `backlog`: for each free slot, so many tasks of a second wait.
    """
    for pool in (*options.pools, *options.pools):
        site.start(pool)
    site.ready()
    tasks = {
        site.publisher.send(pool, "drill.burn" if computing and not number else "drill.work", seconds)
        for pool in options.pools
        for number in range(SLOTS[pool])
    }
    wait_until(lambda: tasks <= site.ledger.read().begins.keys(), "every task to be begun")
    for pool in options.pools:
        for _ in range(backlog * SLOTS[pool]):
            site.publisher.send(pool, "drill.work", 1)
    wait_until(site.publisher.settled, "the publisher's answers")
    blow()
    site.say("waiting for its tasks")
    site.drain()
    # One more, of each queue: all of this has cost no worker its place.
    for pool in options.pools:
        site.publisher.send(pool, "drill.work", 0)
    site.drain()
    outcomes = [site.outcome(drill, pool, 0 if computing else 1) for pool in options.pools]
    for outcome in outcomes:
        outcome.bound = 0
        outcome.lose_nothing()
        outcome.must(outcome.set_aside == 0, f"{outcome.set_aside} tasks were set aside that any worker could run")
        dead = [worker for worker in site.workers[outcome.pool] if worker.process.poll() is not None]
        outcome.must(not dead, f"{len(dead)} workers have ended by themselves")
    return outcomes
