"""The two tasks, as taskiq has them: on streams, which are acknowledged, or on a list, which is not."""

from __future__ import annotations

import asyncio
import os
from functools import cache

from bench.notes import note
from redis.asyncio import BlockingConnectionPool, Redis
from taskiq_redis import ListQueueBroker, RedisStreamBroker

_kinds = {"stream": RedisStreamBroker, "list": ListQueueBroker}
broker = _kinds[os.environ["BENCH_TASKIQ"]](os.environ["CELERY_BROKER_URL"])
_client = Redis(connection_pool=BlockingConnectionPool.from_url(os.environ["BENCH_COUNTER"], max_connections=100))
#: One for everything that this process publishes, as a web server has one.
_loop = asyncio.new_event_loop()


@broker.task
async def no_op() -> None:
    """Do nothing."""
    note()


@broker.task
async def incr() -> None:
    """Ask Redis once."""
    await _client.incr("bench:incr")
    note()


def send(task: str, times: int) -> None:
    """Publish a task so often, as an application does; many at once, as asyncio is for."""
    kiq = {"no_op": no_op, "incr": incr}[task].kiq

    async def some() -> None:
        for begin in range(0, times, 50):
            await asyncio.gather(*(kiq() for _ in range(min(50, times - begin))))

    _started()
    _loop.run_until_complete(some())


@cache
def _started() -> None:
    _loop.run_until_complete(broker.startup())
