"""Work for queues as long as a drill needs it: never more than a window of it, never faster than a rate."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from bench.drills.site import Site, fetched

#: Tasks a second into each queue: what two busy processors do beside the starts of workers.
RATE = 40.0
#: Shares of the tasks, and the seconds those take: many that are short, and enough that are in hand when a blow falls.
SHORT, LONG, LONG_SHARE = (0.002, 0.02), (0.1, 0.3), 0.3


class Load:
    """`with Load(site, pools):` publishes until its end."""

    def __init__(self, site: Site, pools: Iterable[str]) -> None:
        self.site, self.pools = site, list(pools)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _feed(self) -> None:
        chance = random.Random(0)
        publisher, ledger = self.site.publisher, self.site.ledger
        # Enough that two workers are full and as much waits, even while a third one's share waits for its lease to lapse.
        window = {pool: 4 * fetched(pool) + 8 for pool in self.pools}
        due = dict.fromkeys(self.pools, time.monotonic())
        while not self._stop.wait(0.01):
            ledger.read()
            for pool in self.pools:
                due[pool] = max(due[pool], time.monotonic() - 0.1)
                while due[pool] <= time.monotonic() and publisher.sent(pool) - ledger.done[pool] < window[pool]:
                    seconds = chance.uniform(*(LONG if chance.random() < LONG_SHARE else SHORT))
                    publisher.send(pool, "drill.work", round(seconds, 4))
                    due[pool] += 1 / RATE
