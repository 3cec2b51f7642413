"""The two tasks, as dramatiq has them. Of its middleware only Retries, without which a task that fails is not run again."""

from __future__ import annotations

import os

import dramatiq
import redis
from bench.notes import note
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Retries

# A connection for each of its greenlets; redis-py would refuse beyond a hundred.
_pool = redis.ConnectionPool.from_url(os.environ["CELERY_BROKER_URL"], max_connections=300)
_client = redis.Redis.from_url(os.environ["BENCH_COUNTER"], max_connections=300)

broker = RedisBroker(client=redis.Redis(connection_pool=_pool), middleware=[Retries()])
dramatiq.set_broker(broker)


@dramatiq.actor
def no_op() -> None:
    """Do nothing."""
    note()


@dramatiq.actor
def incr() -> None:
    """Ask Redis once."""
    _client.incr("bench:incr")
    note()


def send(task: str, times: int) -> None:
    """Publish a task so often, as an application does."""
    actor = {"no_op": no_op, "incr": incr}[task]
    for _ in range(times):
        actor.send()
