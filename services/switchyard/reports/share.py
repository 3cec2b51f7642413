"""What one slot of this worker's queue may use of its container: a database engine that asks the machine would take it all."""

from __future__ import annotations

import os
from dataclasses import dataclass

from switchyard.routing import current_queues
from switchyard.settings import settings

#: Bytes and threads outside a worker, where no queue says.
_ELSEWHERE_MEMORY = 1024**3


@dataclass(frozen=True)
class Share:
    """Memory in bytes and threads of one slot."""

    memory: int
    threads: int


def own_share() -> Share:
    """The share of one slot of the queue that this process consumes; outside a worker, a gigabyte and every processor."""
    config = settings()
    if not config.queue:
        return Share(_ELSEWHERE_MEMORY, os.cpu_count() or 1)
    queue = current_queues()[config.queue]
    return Share(queue.memory // queue.slots, max(1, int(queue.cpus / queue.slots)))
