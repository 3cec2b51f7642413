"""Drills in which Redis itself is killed and started again over its append-only file, or stops for a while."""

from __future__ import annotations

import signal
import time
from subprocess import Popen
from typing import cast

from bench.drills import steady
from bench.drills.kind import Options
from bench.drills.load import Load
from bench.drills.outcome import Outcome
from bench.drills.site import LEASE, Site

#: Seconds after Redis' return within which every queue is consumed again.
RESUMED = 10.0


def killed(site: Site, options: Options) -> list[Outcome]:
    """Kill Redis (SIGKILL) under load and start it again: what it had accepted is all there, and soon consumed.

    Only its process dies. What the operating system had not written to the disk yet is not lost by that, also with everysec.
    """
    for pool in options.pools:
        site.start(pool)
    site.ready()
    resumed: dict[str, list[float]] = {pool: [] for pool in options.pools}
    with Load(site, options.pools):
        for number in range(options.rounds):
            site.say(f"kill {number + 1} of {options.rounds}")
            for pool in options.pools:
                site.busy(site.workers[pool][0])
            site.server.kill()
            site.server.start()
            back = time.monotonic()
            waiting = set(options.pools)
            while waiting and time.monotonic() < back + 3 * RESUMED:
                for entry in site.ledger.begun_since(back):
                    if entry.queue in waiting:
                        resumed[entry.queue].append(entry.at - back)
                        waiting.remove(entry.queue)
                time.sleep(0.05)
            for pool in waiting:
                resumed[pool].append(3 * RESUMED)
    site.drain()
    outcomes = []
    for pool in options.pools:
        outcome = site.outcome("redis-killed", pool, options.rounds)
        outcome.recoveries = resumed[pool]
        outcome.lose_nothing()
        outcome.recover_within(RESUMED, share=1)
        outcome.must(outcome.set_aside == 0, f"{outcome.set_aside} tasks were set aside that any worker could run")
        outcomes.append(outcome)
    return outcomes


def stopped(site: Site, options: Options) -> list[Outcome]:
    """Stop Redis (SIGSTOP) for longer than a lease: no worker is dead, and nothing may run twice for it."""

    def stop() -> None:
        site.say(f"Redis is stopped for {options.pause:g} s")
        server = cast("Popen[bytes]", site.server.process)
        server.send_signal(signal.SIGSTOP)
        time.sleep(options.pause)
        server.send_signal(signal.SIGCONT)

    return steady.undisturbed("redis-paused", site, options, stop, seconds=options.pause + LEASE)
