"""The broker door: events that other applications have published in, accepted workflows out.

It reads kombu's list itself, without a consumer of kombu's: a message is looked at where it lies, accepted, and removed only
then. Nothing is ever in the hands of a process that may die, and accepting twice starts nothing twice.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import redis

from switchyard.broker.events_queue import PRIORITY_LISTS, events_queue
from switchyard.errors import EventRefused, Unavailable
from switchyard.events import acceptance, bounds, refused
from switchyard.events.event import MAX_BATCH, parse
from switchyard.logs import get_logger
from switchyard.producer import app
from switchyard.queue import EVENTS_QUEUE
from switchyard.settings import settings
from switchyard.workflows import record

#: Messages looked at in one round trip, and seconds for which to wait for the first.
PAGE, WAIT_S = 100, 0.25
#: Messages for full queues that are passed by, and seconds until they are looked at again.
MOST_PASSED, FULL_S = 1000, 1.0

log = get_logger(__name__)


@dataclass(frozen=True)
class _Message:
    """What lies in the list, and what an application published; None if that cannot be told."""

    raw: bytes
    body: bytes | None

    @classmethod
    def of(cls, raw: bytes) -> _Message:
        """Open kombu's envelope; what was compressed or has none is refused later, with all else."""
        try:
            envelope = json.loads(raw)
            body = envelope["body"]
            encoded = envelope["properties"].get("body_encoding") == "base64"
            return cls(raw, base64.b64decode(body, validate=True) if encoded else body.encode())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
            return cls(raw, None)


class BrokerDoor:
    """Takes events in. Methods raise redis' and kombu's own errors while the broker is away; nothing is lost then."""

    def __init__(self) -> None:
        # Bytes, as they came: what is removed must be what was read.
        self._client = redis.Redis.from_url(settings().broker_url(), socket_timeout=10, socket_connect_timeout=5)
        self._connection = app.connection_for_write()
        self._full_until, self._reason = 0.0, ""
        self._passed: dict[str, int] = {}

    def declare(self) -> None:
        """Put the exchange's binding in place: until then, and after a FLUSHALL, what is published to it matches nothing."""
        events_queue()(self._connection.default_channel).declare()

    def look(self) -> int:
        """Take in a page of what waits, at most `WAIT_S` after the call if nothing does yet; returns how many messages."""
        if time.monotonic() < self._full_until:
            time.sleep(WAIT_S)
            return 0
        # From the tail to the tail: it moves nothing, and waits until there is something.
        self._client.blmove(EVENTS_QUEUE, EVENTS_QUEUE, cast("int", WAIT_S), "RIGHT", "RIGHT")
        return sum(self._take(name) for name in PRIORITY_LISTS)

    def close(self) -> None:
        """Close both connections."""
        self._client.close()
        self._connection.release()

    def _take(self, name: str) -> int:
        """A page of one list, oldest first. What must wait for room is passed by, so that it does not hold up all the rest."""
        passed = self._passed.get(name, 0)
        page = cast("list[bytes]", self._client.lrange(name, -(passed + PAGE), -(passed + 1)))
        done = self._accept([_Message.of(raw) for raw in reversed(page)])
        if done:
            pipe = self._client.pipeline(transaction=False)
            for message in done:
                pipe.lrem(name, -1, cast("str", message.raw))  # bytes are what lies there
            pipe.execute()
        self._passed[name] = passed = passed + len(page) - len(done)
        if passed and (len(page) < PAGE or passed >= MOST_PASSED):
            log.warning("events_must_wait", events=passed, reason=self._reason, door="broker")
            self._passed[name], self._full_until = 0, time.monotonic() + FULL_S
        return len(done)

    def _accept(self, messages: Sequence[_Message]) -> list[_Message]:
        """Accept each that can be, keep each that cannot; returns those that need not lie in the list any more."""
        must_wait: list[_Message] = []
        groups: list[tuple[_Message, acceptance.Group]] = []
        refusals: list[tuple[_Message, EventRefused]] = []
        length = cache(bounds.length)  # asked once for all of these
        for message in messages:
            try:
                groups.append((message, _group(message, length)))
            except EventRefused as exc:
                refusals.append((message, exc))
            except Unavailable as exc:
                must_wait.append(message)
                self._reason = str(exc)
            if groups and (message is messages[-1] or sum(len(group) for _, group in groups) >= MAX_BATCH):
                refusals += _record(groups)
                groups = []
        # At the end: where recording fails all of these are looked at again, and would be kept again.
        for message, why in refusals:
            _refuse(message, why)
        return [message for message in messages if message not in must_wait]


def _record(groups: Sequence[tuple[_Message, acceptance.Group]]) -> list[tuple[_Message, EventRefused]]:
    """Record all of them in one step; returns those that conflict with what was accepted before."""
    refusals: list[tuple[_Message, EventRefused]] = []
    keys, args = acceptance.call([group for _, group in groups])
    outcomes = iter(acceptance.outcomes_of(record.run_script("accept", keys, args)))
    for message, group in groups:
        own = [next(outcomes) for _, start in group if start]
        try:
            acceptance.told(group, own, door="broker")
        except EventRefused as exc:
            refusals.append((message, exc))
    return refusals


def _group(message: _Message, length: Callable[[str], int]) -> acceptance.Group:
    """The message's events and what they start. Raises EventRefused, or Unavailable while there is no room for them."""
    if message.body is None:
        raise EventRefused("The message has no envelope of kombu's, or one that cannot be opened.")
    found = parse(message.body)
    events = found if isinstance(found, list) else [found]
    group = list(zip(events, acceptance.starts_of(events), strict=True))
    for queue in bounds.of_tasks(start.task for _, start in group if start):
        bounds.check(queue, length(queue.name))
    return group


def _refuse(message: _Message, why: EventRefused) -> None:
    refused.keep(message.raw if message.body is None else message.body, str(why))
    log.error("event_refused", reason=str(why), door="broker", next_step="make refused")
