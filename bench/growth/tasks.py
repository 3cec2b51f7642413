"""The app of this bench's workers: items that do nothing, and what spreads them."""

from __future__ import annotations

from typing import Any

from celery import Celery, shared_task

from switchyard.workflows import fan_out

app = Celery("growth")
app.config_from_object("switchyard.celeryconfig")


@shared_task(name="items.no_op")
def no_op(item: int) -> int:
    """Do nothing."""
    return item


@shared_task(name="items.count")
def count(results: list[Any]) -> int:
    """What came of them."""
    return len(results)


@shared_task(name="starts.spread")
def spread(items: int) -> str:
    """So many of them."""
    return fan_out(no_op, range(items), callback=count)
