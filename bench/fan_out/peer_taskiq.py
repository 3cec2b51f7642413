"""taskiq's way: a message per product, of which the last to end, by a count in Redis, sends the callback's: taskiq has no group.

Runs in .venv-peers; as a program, it publishes. The callback is given no results, and none are stored: less than the others do.
"""

from __future__ import annotations

import asyncio
import os

import redis.asyncio
from bench.fan_out import common, lean
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(common.redis_url(8))
_counter = redis.asyncio.Redis.from_url(common.redis_url(8), max_connections=1000)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def _say_so(_: TaskiqState) -> None:
    common.ready()


@broker.task(task_name="update")
async def update(product_id: int, items: int) -> None:
    await lean.update(product_id)
    if await _counter.incr("bench:ended") == items:
        await all_updated.kiq(items)


@broker.task(task_name="all_updated")
async def all_updated(items: int) -> None:
    common.done(items)


async def main() -> None:
    """Publish, a few at a time."""
    items = int(os.environ[common.ITEMS])
    await broker.startup()
    await _counter.delete("bench:ended")
    common.begin()
    numbers = iter(range(1, items + 1))

    async def publish() -> None:
        for number in numbers:
            await update.kiq(number, items)

    await asyncio.gather(*(publish() for _ in range(20)))
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
