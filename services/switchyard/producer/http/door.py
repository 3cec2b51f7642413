"""What the HTTP door's requests share: connections to Redis, the committer, and the bounds of queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from math import inf

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError  # noqa: A004  redis' own name

from switchyard.events import acceptance, bounds
from switchyard.events.acceptance import Accepted
from switchyard.events.event import Event
from switchyard.producer.http.committer import Committer
from switchyard.queue import Queue
from switchyard.settings import settings
from switchyard.workflows import record

#: Seconds that Redis may take for one answer; less than what a request may take.
REDIS_TIMEOUT_S = 2.0
#: Seconds for which it counts as known in which queues a task's work will wait, and how much waits there.
KNOWN_S = 0.1
#: Connections to each of the broker and the records.
_CONNECTIONS = 64
NAME = "http"


class Door:
    """Accepts events. Use it inside `open_door`."""

    def __init__(self, stopping: asyncio.Event) -> None:
        """Connects at the first request."""
        self.broker = _connect(settings().broker_url())
        self.records = _connect(settings().result_backend_url())
        self.stopping, self.streams = stopping, 0
        self.committer = Committer(self.records)
        self._lengths: dict[str, tuple[float, asyncio.Task[int]]] = {}
        self._bounded: dict[str, tuple[float, list[Queue]]] = {}

    async def accept(self, events: Sequence[Event]) -> list[Accepted]:
        """Record the workflows of these events, of all or of none. Raises as `acceptance.accept`."""
        group = list(zip(events, acceptance.starts_of(events), strict=True))
        tasks = {start.task for _, start in group if start}
        await self._check_bounds(tasks)
        outcomes = await self.committer.commit(group) if tasks else []
        return acceptance.told(group, outcomes, door=NAME)

    async def _check_bounds(self, tasks: Iterable[str]) -> None:
        now = asyncio.get_running_loop().time()
        for task in tasks:
            seen, queues = self._bounded.get(task, (-inf, []))
            if now - seen > KNOWN_S:
                queues = bounds.of_tasks([task])
                self._bounded[task] = now, queues
            for queue in queues:
                bounds.check(queue, await self._length(queue.name, now))

    async def _length(self, queue: str, now: float) -> int:
        """Messages that wait, as somebody has just seen it: requests that come together look once."""
        seen, look = self._lengths.get(queue, (-inf, None))
        if look is None or now - seen > KNOWN_S:
            look = asyncio.ensure_future(self._look(queue))
            self._lengths[queue] = now, look
        return await asyncio.shield(look)  # a caller that goes must not take it from the others

    async def _look(self, queue: str) -> int:
        """As `bounds.length`."""
        return int(await self.broker.llen(queue)) + int(await self.records.zcard(record.OUTBOX))


@asynccontextmanager
async def open_door(stopping: asyncio.Event) -> AsyncIterator[Door]:
    """A door whose committer runs. Raises ConfigError without a deployment."""
    door = Door(stopping)
    committing = asyncio.create_task(door.committer.run())
    try:
        yield door
    finally:
        committing.cancel()
        await door.records.aclose()
        await door.broker.aclose()


def _connect(url: str) -> Redis:
    # Sent again only over a connection that Redis has closed: what may just be slow is not asked twice. One that was reset is
    # uvloop's RuntimeError, before anything is sent.
    retry = Retry(NoBackoff(), 1, supported_errors=(ConnectionError, RuntimeError))  # type: ignore[arg-type]
    pool = BlockingConnectionPool.from_url(
        url, max_connections=_CONNECTIONS, timeout=REDIS_TIMEOUT_S, decode_responses=True,
        socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S, retry=retry,
    )  # fmt: skip
    return Redis.from_pool(pool)  # which closes it with itself
