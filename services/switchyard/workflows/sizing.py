"""How large a workflow's chunks are: the number of its items, its queue and the time of an item in, a number of items out.

Two things pull: a message costs a few milliseconds whatever is in it, and slots that run out of chunks wait for those that have not.
So every slot gets a few chunks where there are few items, and where an item's time is known no chunk takes long.
"""

from __future__ import annotations

import math
from typing import cast

from switchyard.queue import Queue
from switchyard.workflows import pace, record

#: A hash in Redis: a task -> the seconds that an item of it took lately, as chunks record it with their results.
ITEM_SECONDS = "switchyard:item_seconds"
#: Chunks that every slot of the queue gets, if there are items enough: the last ones that run are a small part of the whole.
CHUNKS_PER_SLOT = 4
#: Items of the largest chunk. A hash of so many results is one that Redis still packs tightly: beyond 512 it takes twice the memory.
LARGEST = 500
#: Seconds that a chunk is to take, where its items' time is known.
CHUNK_SECONDS = 2.0
#: Items that are looked at to see how many there are, where their source does not say.
LOOK_AHEAD = 10_000


def chunk_size(count: int, queue: Queue, item_seconds: float | None) -> int:
    """Items in a chunk of a workflow with `count` of them, or more; `item_seconds` is what one took lately, if that is known."""
    size = min(LARGEST, math.ceil(count / (CHUNKS_PER_SLOT * queue.slots)))
    if item_seconds:
        at_once = max(1, pace.BEGIN // queue.slots) if queue.pool in pace.POOLS else 1
        size = min(size, int(at_once * CHUNK_SECONDS / item_seconds))
    return max(1, size)


def item_seconds(task: str) -> float | None:
    """The seconds that an item of this task took lately; None if none was recorded in the time that records are kept."""
    found = cast("str | None", record.client().hget(ITEM_SECONDS, task))
    return float(found) if found else None
