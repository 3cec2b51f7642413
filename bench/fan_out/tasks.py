"""Our way: the app that its workers run."""

from __future__ import annotations

from typing import Any

from bench.fan_out import common, work
from celery import Celery, shared_task
from celery.signals import worker_ready

from switchyard.workflows import fan_out

app = Celery("bench")
app.config_from_object("switchyard.celeryconfig")


@shared_task(name="bench.update")
def update(product_id: int) -> dict[str, Any]:
    return work.update(product_id)


@shared_task(name="bench.all_updated")
def all_updated(results: Any) -> dict[str, Any]:
    return work.all_updated(results)


@shared_task(name="bench.refresh")
def refresh(items: int) -> str:
    return fan_out(update, range(1, items + 1), callback=all_updated)


@shared_task(name="bench.no_op")
def no_op(item: int) -> int:
    return item


@shared_task(name="bench.count")
def count(results: Any) -> int:
    common.done(len(results))
    return len(results)


@shared_task(name="bench.spread")
def spread(items: int) -> str:
    return fan_out(no_op, range(items), callback=count)


@worker_ready.connect
def _say_so(**_: Any) -> None:
    common.ready()
