"""Events in; messages that the broker door takes in, out: for an application's own code, and for what was refused once.

How to publish without any of this: docs/events.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from kombu import Connection
from kombu.exceptions import OperationalError
from redis import RedisError

from switchyard.broker.events_queue import events_queue
from switchyard.errors import EventRefused, Unavailable
from switchyard.events.event import Event, parse
from switchyard.queue import EVENTS_QUEUE
from switchyard.settings import settings

if TYPE_CHECKING:
    from celery import Celery

CONTENT: dict[str, Any] = {"content_type": "application/cloudevents+json", "content_encoding": "utf-8"}


def publish(app: Celery, event: Mapping[str, Any]) -> None:
    """Publish a CloudEvent to the exchange `events`, for the broker door; `app` is one with our configuration.

    Raises EventRefused for what is no CloudEvent, and Unavailable, within a minute, while the broker is away or full; the event may
    have arrived then, and can be published again.
    """
    found, body = _checked(event)
    with _answering(), app.producer_pool.acquire(block=True) as producer:
        # By itself: what kombu declares along with a message it declares once, and a FLUSHALL undoes it.
        queue = events_queue()
        queue.declare(channel=producer.channel)  # type: ignore[arg-type]  # a channel by now
        producer.publish(body, exchange=queue.exchange, routing_key=found.type, retry=False, **CONTENT)


def resend(body: bytes) -> None:
    """Put what a door has refused back into the queue `events`, as it came. Raises Unavailable as `publish` does."""
    timeouts = {"socket_timeout": 30, "socket_connect_timeout": 5}
    with _answering(), Connection(settings().broker_url(), transport_options=timeouts) as connection:
        connection.Producer().publish(body, exchange="", routing_key=EVENTS_QUEUE, **CONTENT)


def _checked(event: Mapping[str, Any]) -> tuple[Event, bytes]:
    try:
        body = json.dumps(dict(event), ensure_ascii=False).encode()
    except (TypeError, ValueError) as exc:
        raise EventRefused(f"The event is no JSON: {exc}.") from exc
    return cast("Event", parse(body)), body  # an object is no batch


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (RedisError, OperationalError, OSError) as exc:
        raise Unavailable(
            f"The broker does not take the event ({exc}). Publish it again: with the same source and id it starts nothing twice."
        ) from exc
