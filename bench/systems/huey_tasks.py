"""The two tasks, as huey has them, without results. It pops a message before it runs it, and acknowledges nothing."""

from __future__ import annotations

import os

import redis
from bench.notes import note
from huey import RedisHuey

_client = redis.Redis.from_url(os.environ["BENCH_COUNTER"])
huey = RedisHuey("bench", results=False, url=os.environ["CELERY_BROKER_URL"])


@huey.task()
def no_op() -> None:
    """Do nothing."""
    note()


@huey.task()
def incr() -> None:
    """Ask Redis once."""
    _client.incr("bench:incr")
    note()


def send(task: str, times: int) -> None:
    """Publish a task so often, as an application does."""
    call = {"no_op": no_op, "incr": incr}[task]
    for _ in range(times):
        call()
