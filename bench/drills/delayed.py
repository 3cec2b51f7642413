"""A drill of tasks that are due later, evenly over a time in which workers and Redis are killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from bench.drills.kind import Options
from bench.drills.outcome import Outcome
from bench.drills.redis_away import RESUMED
from bench.drills.site import BATCH, LEASE, SLOTS, SWEEP, Site
from bench.workers import wait_until

#: Seconds from when the last one was published until the first is due.
AHEAD = 5.0
#: Tasks that are published in a second at least.
PUBLISHED = 250
#: Seconds by which a task may begin late.
LATE = 1.0


def delayed(site: Site, options: Options) -> list[Outcome]:
    """Have many tasks be due over a time, and kill workers meanwhile, in turn over the pools, and Redis once, half-way through."""
    for pool in (*options.pools, *options.pools):
        site.start(pool)
    site.ready()
    due = _published(site, options)
    first = min(due.values())
    redis_away = _strike(site, options, first)
    wait_until(lambda: time.monotonic() > first + options.spread, "the last one to be due", options.spread + 60)
    site.drain()
    return [_judged(site, pool, due, redis_away) for pool in options.pools]


def _published(site: Site, options: Options) -> dict[str, float]:
    """When each is due, by the monotonic clock."""
    now, today = time.monotonic(), datetime.now(UTC)
    ahead = AHEAD + options.delayed / PUBLISHED
    due = {}
    for number in range(options.delayed):
        later = ahead + options.spread * number / options.delayed
        pool = options.pools[number % len(options.pools)]
        eta = (today + timedelta(seconds=later)).isoformat()
        due[site.publisher.send(pool, "drill.work", 0.002, eta=eta)] = now + later
    site.say(f"{options.delayed:,} delayed")
    wait_until(site.publisher.settled, "the publisher's answers", 2 * ahead)
    return due


def _strike(site: Site, options: Options, first: float) -> tuple[float, float]:
    """All blows, evenly over the time; returns from when until when Redis was away."""
    away = (0.0, 0.0)
    for number in range(options.rounds):
        at = first + options.spread * (number + 0.5) / options.rounds
        wait_until(partial(_is_past, at), "the next blow", options.spread + 60)
        site.say(f"kill {number + 1} of {options.rounds}")
        pool = options.pools[number % len(options.pools)]
        site.kill(site.workers[pool][0])
        site.start(pool)
        if number == options.rounds // 2:
            began = time.monotonic()
            site.server.kill()
            site.server.start()
            away = (began, time.monotonic())
    return away


def _is_past(at: float) -> bool:
    return time.monotonic() > at


def _judged(site: Site, pool: str, due: dict[str, float], away: tuple[float, float]) -> Outcome:
    outcome = site.outcome("delayed", pool)
    outcome.bound = outcome.blows * (SLOTS[pool] + BATCH)
    outcome.lose_nothing()
    outcome.must(outcome.set_aside == 0, f"{outcome.set_aside} tasks were set aside that any worker could run")
    began = {name: site.ledger.begins[name][0].at for name in site.publisher.names(pool) if site.ledger.begins[name]}
    early = [name for name, at in began.items() if at < due[name] - 0.05]
    outcome.must(not early, f"{len(early)} tasks were begun before their time")
    resumed = min((entry.at for entry in site.ledger.begun_since(away[1]) if entry.queue == pool), default=away[1])
    expected = {name: max(due[name], *_recovered(site, pool, due[name], away, resumed)) for name in began}
    outcome.recoveries = [max(0.0, at - expected[name]) for name, at in began.items()]
    outcome.recover_within(LATE, share=1)
    if (seconds := resumed - away[1]) > RESUMED:
        outcome.late.append(f"consumed again {seconds:.1f} s after Redis' return; {RESUMED:g} s are promised")
    return outcome


def _recovered(site: Site, pool: str, due: float, away: tuple[float, float], resumed: float) -> Iterator[float]:
    """Until when a task may have waited for something else than its time: Redis, or a killed worker that may have had it in hand."""
    yield 0.0
    if away[0] - 2 < due < resumed:  # with what its workers had in hand
        yield resumed
    for kill in site.kills:
        if kill.queue == pool and kill.at - 2 < due < kill.at + 2:
            # After Redis was away, nothing is swept until leases have been watched for one.
            swept_from = away[1] if kill.at <= away[1] < kill.at + LEASE + SWEEP else kill.at
            yield swept_from + LEASE + SWEEP
