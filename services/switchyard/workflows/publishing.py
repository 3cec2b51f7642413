"""Sends a workflow's messages, each to the queue of the task it is about: chunks, the callback, and either again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import current_app

from switchyard.broker.state import waiting
from switchyard.logs import get_logger
from switchyard.routing import current_queues, kombu_queue, queue_of
from switchyard.workflows import record
from switchyard.workflows.record import patiently

log = get_logger(__name__)


def send(name: str, args: tuple[Any, ...], *, like: str, producer: Any = None) -> None:
    """Publish one of the core's tasks to the queue that takes the task `like`, with that queue's chunk limit."""
    queue = current_queues()[queue_of(like)]
    # A queue itself, not its name: a queue that is newer than this process is not in its Celery app.
    options: dict[str, Any] = {"queue": kombu_queue(queue.name), "time_limit": queue.chunk_time_limit}
    patiently(lambda: current_app.send_task(name, args=args, ignore_result=True, producer=producer, **options))


def chunks(meta: record.Meta, numbers: Iterable[int]) -> None:
    """Publish chunks, noting how far it got: a starter that is lost goes on from there."""
    with current_app.producer_pool.acquire(block=True) as producer:
        for number in numbers:
            send("switchyard.run_chunk", (meta.id, meta.attempt, number), like=meta.each, producer=producer)
            if number % record.PAGE == record.PAGE - 1:
                patiently(lambda number=number: record.client().hset(record.meta_key(meta.id), "published", number + 1))  # type: ignore[misc]


def call_back(meta: record.Meta) -> None:
    """Publish the call of the workflow's callback."""
    send("switchyard.call_back", (meta.id, meta.attempt), like=meta.callback)


def again(meta: record.Meta) -> None:
    """Publish what a stalled workflow waits for, unless it still waits in a queue. What runs twice is recorded once."""
    if meta.ended:
        record.client().zrem(record.OPEN, meta.id)
    elif any(waiting(queue_of(task)) for task in (meta.each, meta.callback) if task):
        return
    elif meta.state == "running" and meta.done < meta.total:
        unfinished = [
            number for number, items, results in record.page(meta.id, range(meta.chunks)) if len(results) < len(items)
        ]
        log.warning("stalled_workflow_published_again", chunks=len(unfinished))
        chunks(meta, unfinished)
    elif meta.state in ("running", "joining"):
        log.warning("stalled_workflow_called_back_again")
        call_back(meta)
