"""The tasks that events start in; the queues that must have room for them, and whether they have, out."""

from __future__ import annotations

from collections.abc import Iterable

from switchyard.broker.state import waiting
from switchyard.errors import Unavailable
from switchyard.queue import Queue
from switchyard.routing import current_queues, queue_of
from switchyard.workflows import record


def of_tasks(tasks: Iterable[str]) -> list[Queue]:
    """The bounded queues in which the work of these tasks will wait: their own, and of a report both of its queues."""
    queues = current_queues()
    names = {name: None for task in tasks for name in _names(queue_of(task))}
    return [queue for name in names if (queue := queues[name]).max_waiting is not None]


def _names(name: str) -> tuple[str, ...]:
    report = current_queues().report_of(name)
    return report.queues if report else (name,)


def length(name: str) -> int:
    """What waits in a queue, or in the outbox, where it may be for any queue. Raises redis' own errors."""
    return waiting(name) + record.client().zcard(record.OUTBOX)


def check(queue: Queue, waiting: int) -> None:
    """Raises Unavailable when so many waiting messages are as many as the queue may have."""
    if queue.max_waiting is not None and waiting >= queue.max_waiting:
        raise Unavailable(
            f"{waiting:,} messages wait in {queue.name}, whose bound is {queue.max_waiting:,}; it takes no more events now."
        )
