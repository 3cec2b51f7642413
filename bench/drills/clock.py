"""The drill in which the clock of Redis' machine jumps: leases are times by that clock, and no worker is dead for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

from bench.drills import steady
from bench.drills.kind import Options, Skipped
from bench.drills.ledger import Kill
from bench.drills.outcome import Outcome
from bench.drills.site import LEASE, Site, Worker, patiently
from tests.support import Server

#: Seconds of a jump.
HOUR = 3600
#: Seconds between two jumps: each sweep has seen the one before.
BETWEEN = 1.2 * LEASE
#: Where Debian's package `faketime` and others' put the library.
LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1")  # fmt: skip


def clock(site: Site, options: Options) -> list[Outcome]:
    """Let Redis' clock jump an hour ahead and back: what runs is not run again, and a dead worker's task still is."""
    killed: list[Kill] = []

    def jump() -> None:
        for seconds in (HOUR, 0, -HOUR, 0):
            _set(site, seconds)
            site.say(f"Redis' clock is {seconds:+} s off")
            time.sleep(BETWEEN)

    outcomes = steady.undisturbed("clock", site, options, jump, seconds=4 * BETWEEN + LEASE)
    # A lease taken before the clock goes back would last an hour more.
    _set(site, HOUR)
    for pool in options.pools:
        site.publisher.send(pool, "drill.work", 2 * LEASE)
    for pool in options.pools:
        patiently(partial(_busy, site, pool))
        killed += [site.kill(worker) for worker in _busy(site, pool)[:1]]
    _set(site, 0)
    site.say("Redis' clock has gone back, and what ran then is to run again")
    site.drain()
    return [_after(site, before, killed) for before in outcomes]


def _busy(site: Site, pool: str) -> list[Worker]:
    return [worker for worker in site.workers[pool] if site.ledger.running(worker.pid)]


def _after(site: Site, before: Outcome, killed: list[Kill]) -> Outcome:
    """What was counted while nobody died, and what became of the dead workers' tasks."""
    outcome = site.outcome("clock", before.pool, 4)
    outcome.again, outcome.bound, outcome.broken = before.again, before.bound, before.broken
    outcome.must(any(kill.queue == before.pool for kill in killed), "no worker had a task in hand to be killed with")
    outcome.must(
        outcome.lost == 0, f"{outcome.lost} tasks of a dead worker did not run again after the clock went back"
    )
    return outcome


@contextmanager
def own_clock(folder: Path, options: Options) -> Iterator[Server]:
    """A Redis whose wall clock follows a file. Raises Skipped without libfaketime."""
    library = next((found for pattern in LIBRARIES for found in Path("/").glob(pattern[1:])), None)
    if library is None:
        raise Skipped("libfaketime is not installed; on Debian and Ubuntu: apt install faketime.")
    server = Server(folder, "--appendfsync", options.fsync)
    file = _file(server)
    file.write_text("+0")
    fake = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}  # fmt: skip
    with patch.dict(os.environ, fake):
        server.start()
    try:
        yield server
    finally:
        server.kill()


def _file(server: Server) -> Path:
    return server.folder / "clock"


def _set(site: Site, seconds: int) -> None:
    # Replaced whole: Redis reads it at each look at the clock.
    new = site.folder / "clock.new"
    new.write_text(f"{seconds:+}")
    new.replace(_file(site.server))
