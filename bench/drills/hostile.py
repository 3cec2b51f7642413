"""The drill in which whoever may write to Redis writes nonsense into a queue's list, and worse."""

from __future__ import annotations

import time
from typing import cast

from bench.drills import payloads
from bench.drills.kind import Options
from bench.drills.outcome import Outcome
from bench.drills.site import LEASE, Site
from bench.workers import wait_until
from redis import Redis

#: Good tasks beside the others, and the seconds of the one that runs meanwhile.
GOOD, RUNNING = 20, 1.6 * LEASE
#: Seconds without any progress after which a queue is stuck.
PATIENCE = 20.0


def hostile(site: Site, options: Options) -> list[Outcome]:
    """Put what is no message, or a dishonest one, into a queue's list: it is set aside, and the good ones beside it run."""
    for pool in options.pools:
        site.start(pool)
    site.ready()
    pushed = {pool: _push(site, pool) for pool in options.pools}
    site.say("waiting for the good tasks")
    _settle(site)
    for pool in options.pools:
        site.publisher.send(pool, "drill.work", 0)
    site.drain()
    return [_judged(site, pool, pushed[pool]) for pool in options.pools]


def _push(site: Site, pool: str) -> list[str]:
    """Everything there is, with good tasks in between; returns the names of the tasks that are no publisher's."""
    running = site.publisher.send(pool, "drill.work", RUNNING)
    wait_until(lambda: running in site.ledger.read().begins, "a task to be begun")
    with Redis(port=site.server.port) as client:
        tags = [tag.decode() for tag in cast("list[bytes]", client.hkeys("unacked"))]
        dishonest = [*payloads.counted(pool), *payloads.spoofed(pool, tags)]
        all_ = [*payloads.nonsense(), *payloads.misshapen(pool), *(payload for _, payload in dishonest)]
        for number, payload in enumerate(all_):
            if number % (len(all_) // GOOD) == 0:
                site.publisher.send(pool, "drill.work", 0)
            client.lpush(pool, payload)
    return [name for name, _ in dishonest]


def _settle(site: Site) -> None:
    """Wait until every list is empty and nothing is held, or nothing moves any more."""
    seen, since = (-1, -1, -1), time.monotonic()
    while time.monotonic() - since < PATIENCE:
        with site.client() as client:
            held = cast("int", client.hlen("unacked"))
        now = site.waiting(), held, sum(site.ledger.read().done.values())
        if now[:2] == (0, 0):
            return
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.1)


def _judged(site: Site, pool: str, dishonest: list[str]) -> Outcome:
    nonsense = len(list(payloads.nonsense()))
    outcome = site.outcome("hostile", pool, nonsense + len(list(payloads.misshapen(pool))) + len(dishonest))
    outcome.bound = 0
    outcome.lose_nothing()
    outcome.must(not site.ledger.again(dishonest), "a message that claims to be another one was begun twice")
    outcome.must(
        outcome.set_aside >= nonsense, f"{nonsense} payloads are no messages, and {outcome.set_aside} were set aside"
    )
    with site.client() as client:
        left = cast("int", client.llen(pool))
    outcome.must(not left, f"{left} messages are still waiting")
    outcome.must(site.workers[pool][0].process.poll() is None, "the worker has ended")
    return outcome
