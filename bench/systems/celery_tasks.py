"""The two tasks, as Celery has them: for `ours` and for `stock`, whose apps are modules of their own."""

from __future__ import annotations

import os

import redis
from bench.notes import note
from celery import shared_task

#: Greenlets that ask at once have a connection each.
_client = redis.Redis.from_url(os.environ["BENCH_COUNTER"], max_connections=300)


@shared_task(name="bench.no_op", ignore_result=True)
def no_op() -> None:
    """Do nothing."""
    note()


@shared_task(name="bench.incr", ignore_result=True)
def incr() -> None:
    """Ask Redis once."""
    _client.incr("bench:incr")
    note()


def send(task: str, times: int) -> None:
    """Publish a task so often, as an application does."""
    signature = {"no_op": no_op, "incr": incr}[task]
    for _ in range(times):
        signature.delay()
