"""Groups of events in, from many requests; one call of Redis for all that came during the last one; outcomes out."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from redis.asyncio import Redis

from switchyard.events import acceptance
from switchyard.events.acceptance import Group
from switchyard.workflows import record

#: Events of one call: Redis does nothing else meanwhile.
MOST_EVENTS = 1000


class Committer:
    """Commits groups in calls that follow each other: the more come, the more share a call."""

    def __init__(self, records: Redis) -> None:
        """Sends nothing before `run`."""
        self._script = records.register_script(record.script_source("accept"))
        self._waiting: deque[tuple[Group, asyncio.Future[list[int]]]] = deque()
        self._wake = asyncio.Event()

    async def commit(self, group: Group) -> list[int]:
        """The script's outcome for each event of the group that starts something. Raises redis' own errors, or Unavailable."""
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((group, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Commit what waits, until cancelled."""
        while True:
            await self._wake.wait()
            some = self._next()
            try:
                outcomes = iter(await self._call([group for group, _ in some]))
                for group, future in some:
                    own = [next(outcomes) for _, start in group if start]
                    if not future.done():  # its caller may have gone
                        future.set_result(own)
            except Exception as exc:  # noqa: BLE001  it is theirs who wait
                for _, future in some:
                    if not future.done():
                        future.set_exception(exc)

    def _next(self) -> list[tuple[Group, asyncio.Future[list[int]]]]:
        some: list[tuple[Group, asyncio.Future[list[int]]]] = []
        events = 0
        while self._waiting and (not some or events + len(self._waiting[0][0]) <= MOST_EVENTS):
            group, future = self._waiting.popleft()
            if not future.done():
                some.append((group, future))
                events += len(group)
        if not self._waiting:
            self._wake.clear()
        return some

    async def _call(self, groups: list[Group]) -> list[int]:
        if not groups:
            return []
        keys, args = acceptance.call(groups)
        reply: Any = await self._script(keys=keys, args=args)
        return acceptance.outcomes_of(reply)
