"""Drills in which Redis has no room left, in its memory or on its disk, and later has room again."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.drills import steady
from bench.drills.kind import Options, Skipped, plain_server
from bench.drills.outcome import Outcome
from bench.drills.site import LEASE, Site, patiently
from bench.workers import wait_until
from tests.support import Server

#: Seconds without room: the leases that were taken before would lapse.
FULL = 1.6 * LEASE
#: What is published meanwhile.
TRIES = 6
#: Bytes of the disk; an empty append-only file leaves most of it.
DISK = 8 * 1024**2


def memory(site: Site, options: Options) -> list[Outcome]:
    """Take Redis' memory away (maxmemory, noeviction) for longer than a lease: publishers are told, and leases live on."""

    def limit(maxmemory: int) -> None:
        with site.client() as client:
            client.config_set("maxmemory", maxmemory)

    return _without_room("memory", site, options, lambda: limit(1024), lambda: limit(0))


def disk(site: Site, options: Options) -> list[Outcome]:
    """Fill the disk of Redis' append-only file for longer than a lease: publishers are told, and nothing accepted is lost."""
    filler = site.server.folder / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise

    return _without_room("disk", site, options, fill, filler.unlink)


@contextmanager
def small_disk(folder: Path, options: Options) -> Iterator[Server]:
    """A Redis whose append-only file has a disk of its own. Raises Skipped where none can be mounted."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        raise Skipped("a small disk cannot be mounted here; run this drill as root, where mount(8) is allowed.")
    try:
        with plain_server(place, options) as server:
            yield server
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _without_room(
    drill: str, site: Site, options: Options, take: Callable[[], None], give: Callable[[], None]
) -> list[Outcome]:
    refusals: dict[str, str] = {}

    def blow() -> None:
        take()
        began = time.monotonic()
        site.say("there is no room")
        # The first ones may still find room; kombu takes seconds to give each of the others up.
        for number in range(TRIES):
            site.publisher.send(options.pools[number % len(options.pools)], "drill.work", 0)
        patiently(lambda: site.publisher.refused, 60)
        refusals.update(site.publisher.refused)
        time.sleep(max(0, began + FULL - time.monotonic()))
        give()
        site.say("there is room again")
        wait_until(lambda: _takes(site, options.pools[0]), "a task to be accepted again")

    outcomes = steady.undisturbed(drill, site, options, blow, seconds=FULL + 2 * LEASE, backlog=round(FULL))
    for outcome in outcomes:
        outcome.must(refusals, "publishers were not told that there was no room")
    return outcomes


def _takes(site: Site, pool: str) -> bool:
    name = site.publisher.send(pool, "drill.work", 0)
    wait_until(site.publisher.settled, "the publisher's answer", 120)
    return name not in site.publisher.refused
