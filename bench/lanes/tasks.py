"""The app that `bench lanes` has its workers run: the demo's, which notes when each task starts; and two tasks that only sleep."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import redis
from celery.signals import task_prerun

from demo.celery import app
from switchyard.report import Report
from switchyard.settings import settings

#: The list of "<task id> <seconds since the epoch>" in the broker's database.
STARTED = "bench:started"


@app.task(name="bench.long", ignore_result=True)
def long(seconds: float) -> None:
    """Hold a slot."""
    time.sleep(seconds)


@app.task(name="bench.short", ignore_result=True)
def short() -> None:
    """Hold a slot for no time."""


@task_prerun.connect
def note_start(task_id: str, **_: Any) -> None:
    """Note when a task started, before anything else of it."""
    now = time.time()
    _client().rpush(STARTED, f"{task_id} {now}")


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings().broker_url())


if settings().queue == "default":
    # The layout of one queue for everything has no [reports.*], but their tasks.
    from switchyard.reports.tasks import register

    for name in ("coupons", "promotions"):
        register(Report(name=name, module=f"demo.tasks.reports.{name}"))
