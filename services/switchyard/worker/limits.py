"""What a worker runs, since when, and how long each may take."""

from __future__ import annotations

import time
from typing import Any

from celery.worker.state import active_requests

from switchyard.broker.keeper import keepers
from switchyard.queue import Queue

#: Seconds a task's lease outlives its limit, for the pool to end the task first.
LEASE_MARGIN = 30.0


#: Since when each task runs, by the monotonic clock as seen here: a clock that is set must not make them old.
_since: dict[str, float] = {}


def running(queue: Queue) -> list[tuple[str, float, float]]:
    """Of each task that runs: its delivery tag, the seconds it has run, and those it may. Any thread may ask.

    Raises RuntimeError if the set of them changes while it is read.
    """
    now = time.monotonic()
    found = {request.message.delivery_tag: _limit(request, queue) for request in list(active_requests)}
    for tag in [tag for tag in list(_since) if tag not in found]:
        _since.pop(tag, None)
    return [(tag, now - _since.setdefault(tag, now), limit) for tag, limit in found.items()]


def lapse(queue: Queue) -> None:
    """Have the lease of a task that outlives its limit lapse: a hung one is not kept for ever, and counts as lost."""

    def overdue() -> list[str]:
        try:
            return [tag for tag, seconds, limit in running(queue) if seconds > limit + LEASE_MARGIN]
        except RuntimeError:  # the next look is soon
            return []

    for keeper in keepers():
        keeper.leases.overdue = overdue


def _limit(request: Any, queue: Queue) -> float:
    hard, _soft = request.time_limits
    return float(hard or request.task.time_limit or queue.time_limit)
