"""A worker in, its sign of life out: a file that stays young while the worker consumes its queue, or is busy as it may be.

It is told by a thread that needs nothing of what may be stuck: neither Redis nor Celery's loop nor, on gevent, the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from switchyard.health import BEAT_S, FETCH_S, note_ready, program_name
from switchyard.queue import Queue
from switchyard.threads import real_thread
from switchyard.worker import limits, stopping

#: Seconds a task at its limit has to be ended and to make room.
LIMIT_MARGIN = 5.0


def tell(consumer: Any, queue: Queue, state_dir: Path) -> None:
    """Say now that the worker with this Celery consumer is ready, and again and again while it is well."""
    note = partial(note_ready, state_dir, program_name(queue.name))
    note()
    start_thread, sleep = real_thread()
    start_thread(_tell, (partial(is_well, consumer, queue), note, sleep))


def is_well(consumer: Any, queue: Queue) -> bool:
    """Whether this worker is connected and reads its queue, or all its slots are busy within their limits."""
    if _fetches(consumer.connection):
        return True
    longest = queue.chunk_time_limit
    running = [(seconds, max(longest, limit) + LIMIT_MARGIN) for _, seconds, limit in limits.running(queue)]
    return is_busy(running, consumer.pool.num_processes)


def is_busy(running: Iterable[tuple[float, float]], slots: int) -> bool:
    """Whether every slot runs a task and none outlives its limit; of each task that runs, the seconds it has and may have."""
    tasks = list(running)
    return len(tasks) >= slots and all(seconds < limit for seconds, limit in tasks)


def _fetches(connection: Any) -> bool:
    # Its own attribute, since the public one would make a new transport for a connection that is closed.
    transport = connection and connection._transport  # noqa: SLF001
    if not transport:
        return False
    # Another kind of broker, such as sentinel://, has a transport that does not say: there it goes unnoticed.
    return not hasattr(transport, "consuming") or transport.consuming(FETCH_S)


def _tell(is_well: Callable[[], bool], note: Callable[[], None], sleep: Callable[[float], None]) -> None:
    # A stopping worker takes nothing any more, and its successor may have the file by now.
    while not stopping.is_set():
        sleep(BEAT_S)
        # A full disk, a set that changed while it was read, a pool that has just been closed: the next look is soon. Nothing
        # is logged, for on gevent the log's locks belong to the hub; the file's age says it all.
        with suppress(Exception):
            if is_well():
                note()
