"""Drills in which workers, their children or their supervisor are killed while others of their queue live, or none."""

from __future__ import annotations

import os
import time
from functools import partial

from bench.drills.kind import Options
from bench.drills.ledger import Kill
from bench.drills.load import Load
from bench.drills.outcome import Outcome
from bench.drills.site import BATCH, LEASE, PATIENCE, SLOTS, SWEEP, Site, patiently

#: Seconds that a recovery may take beyond the lease and a sweep: until a slot is free.
MARGIN = 1.0


def workers(site: Site, options: Options) -> list[Outcome]:
    """Kill a whole worker, again and again; start another at once, while one of its queue lives."""
    _two_of_each(site, options)
    with Load(site, options.pools):
        _kill_in_turn(site, options)
    site.drain()
    return [_judged(site, "workers", pool) for pool in options.pools]


def flood(site: Site, options: Options) -> list[Outcome]:
    """Kill the only worker of a long backlog, again and again, while acknowledgements are under way in great number."""
    share = options.messages // len(options.pools)
    for pool in options.pools:
        for _ in range(share):
            site.publisher.send(pool, "drill.work", 0)
        site.start(pool)
    # Evenly over the backlog of each.
    marks = {pool: _marks(share, options.rounds // len(options.pools)) for pool in options.pools}
    began = time.monotonic()
    while any(marks.values()) and time.monotonic() - max(began, site.ledger.latest) < PATIENCE:
        done = site.ledger.read().done
        for pool in options.pools:
            if marks[pool] and done[pool] >= marks[pool][0]:
                del marks[pool][0]
                site.kill(site.workers[pool][0])
                site.start(pool)
        site.say(f"{sum(done.values()):,} of {options.messages:,} done")
        time.sleep(0.005)
    site.drain()
    return [_judged(site, "flood", pool, promptly=False) for pool in options.pools]


def _marks(share: int, kills: int) -> list[int]:
    return [share * number // (kills + 1) for number in range(1, kills + 1)]


def children(site: Site, options: Options) -> list[Outcome]:
    """Kill a prefork child in mid-task: its worker goes on, and only that task runs again."""
    worker = site.start("prefork")
    site.ready()
    killed = 0
    with Load(site, ["prefork"]):
        while killed < options.rounds:
            site.busy(worker)
            for entry in site.ledger.running(worker.pid)[-1:]:
                site.say(f"kill {killed + 1} of {options.rounds}")
                killed += _kill_child(entry.pid)
                patiently(partial(_run_again, site, entry.name))
    site.drain()
    outcome = site.outcome("children", "prefork", killed)
    outcome.bound = killed
    outcome.lose_nothing()
    outcome.must(worker.process.poll() is None, "the worker itself ended; only its child was killed")
    outcome.must(outcome.set_aside == 0, f"{outcome.set_aside} tasks were set aside, and none was lost five times")
    return [outcome]


def _run_again(site: Site, name: str) -> bool:
    ledger = site.ledger.read()
    return len(ledger.begins[name]) > 1 or name in ledger.ends


def _kill_child(pid: int) -> bool:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:  # Celery has replaced it
        return False
    return True


def _two_of_each(site: Site, options: Options) -> None:
    for pool in (*options.pools, *options.pools):
        site.start(pool)
    site.ready()


def _kill_in_turn(site: Site, options: Options) -> None:
    last: dict[str, Kill] = {}
    for number in range(options.rounds):
        pool = options.pools[number % len(options.pools)]
        site.say(f"kill {number + 1} of {options.rounds}")
        # Now and then the next one is killed before it can have taken over: that must lose nothing either.
        if pool in last and number // len(options.pools) % 3:
            patiently(partial(_taken_over, site, last[pool]))
        site.ready(pool)
        oldest = site.workers[pool][0]
        site.busy(oldest)
        last[pool] = site.kill(oldest)
        site.start(pool)


def _taken_over(site: Site, kill: Kill) -> bool:
    ledger = site.ledger.read()
    return all(ledger.begins[name][-1].at > kill.at for name in list(ledger.in_hand[kill.worker]))


def _judged(site: Site, drill: str, pool: str, *, promptly: bool = True) -> Outcome:
    outcome = site.outcome(drill, pool)
    outcome.bound = outcome.blows * (SLOTS[pool] + BATCH)
    outcome.lose_nothing()
    outcome.must(outcome.set_aside == 0, f"{outcome.set_aside} tasks were set aside that any worker could run")
    if promptly:
        outcome.recover_within(LEASE + SWEEP + MARGIN)
    return outcome
