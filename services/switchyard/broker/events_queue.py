"""The exchange and the queue that other applications publish events to, and where kombu keeps them in Redis."""

from __future__ import annotations

from kombu import Exchange, Queue

from switchyard.queue import EVENTS_QUEUE

#: kombu keeps what has a priority in lists of their own; a publisher with stock settings may use them.
PRIORITY_LISTS = tuple(EVENTS_QUEUE if step == 0 else f"{EVENTS_QUEUE}\x06\x16{step}" for step in (0, 3, 6, 9))


def events_queue() -> Queue:
    """A durable topic exchange with everything bound to one durable queue; declaring it puts the binding in place."""
    return Queue(EVENTS_QUEUE, Exchange(EVENTS_QUEUE, type="topic", durable=True), routing_key="#", durable=True)
