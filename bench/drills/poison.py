"""The drill with a task that takes its whole worker down each time it runs, among innocent neighbours."""

from __future__ import annotations

import time

from bench.drills.kind import Options
from bench.drills.ledger import Kill
from bench.drills.outcome import Outcome
from bench.drills.site import LEASE, MAX_DELIVERIES, Site, fetched
from bench.workers import wait_until

#: Workers of a queue after which a poison that nobody sets aside is given up.
ENOUGH = 8
#: Seconds in which all of a queue's workers must have died that will.
PATIENCE = ENOUGH * (3 * LEASE + 30)


def poison(site: Site, options: Options) -> list[Outcome]:
    """Send a task that kills its worker each time, between innocent ones: it is set aside, and they all run."""
    poisons: dict[str, str] = {}
    for pool in options.pools:
        for number in range(2 * fetched(pool) + 4):
            if number == 2:
                poisons[pool] = site.publisher.send(pool, "drill.poison")
            site.publisher.send(pool, "drill.work", 0.2)
    wait_until(site.publisher.settled, "the publisher's answers")
    for pool in options.pools:
        site.start(pool)
    dead = dict.fromkeys(options.pools, 0)
    given_up: set[str] = set()
    end = time.monotonic() + PATIENCE
    while not _over(site, poisons, given_up) and time.monotonic() < end:
        for pool in set(options.pools) - given_up:
            worker = site.workers[pool][0]
            if worker.process.poll() is None:
                continue
            dead[pool] += 1
            site.say(", ".join(f"{pool}: {number} dead" for pool, number in dead.items()))
            site.kills.append(Kill(pool, worker.pid, time.monotonic()))
            site.workers[pool].remove(worker)
            if dead[pool] >= ENOUGH:
                given_up.add(pool)
            else:
                site.start(pool)
        time.sleep(0.05)
    return [_judged(site, pool, poisons[pool], dead[pool]) for pool in options.pools]


def _over(site: Site, poisons: dict[str, str], given_up: set[str]) -> bool:
    """Whether in each queue the poison is set aside and all else has ended, or it was given up."""
    set_aside = site.dead_letters().keys()
    lost = {name for name in site.ledger.read().lost(site.publisher.accepted) if name not in poisons.values()}
    open_ = {name.split(".")[0] for name in lost} | (poisons.keys() - set_aside)
    return open_ <= given_up


def _judged(site: Site, pool: str, poison_: str, dead: int) -> Outcome:
    outcome = site.outcome("poison", pool, dead)
    # It is no loss that the poison never ends.
    outcome.lost -= 1
    outcome.again -= max(len(site.ledger.begins[poison_]) - 1, 0)
    outcome.lose_nothing()
    outcome.must(dead <= MAX_DELIVERIES, f"it took {dead} workers down; at most {MAX_DELIVERIES} are promised")
    outcome.must(outcome.set_aside == 1, f"{outcome.set_aside} messages were set aside; the poison alone was to be")
    return outcome
