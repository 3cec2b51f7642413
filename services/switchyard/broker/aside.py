"""A message whose task has failed in, its dead letter out: with its settlement where it is leased, else written before it.

A leased message moves to its letter in one step, byte by byte. One that was acknowledged before its task ran, or that a stock worker
has, has nothing to move: its letter gets the message as the worker has it.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import uuid4

from kombu.utils.json import dumps

from switchyard.broker import dead_letters, scripts, stock

#: Characters of a reason and of a traceback that are kept: the first of the one, the last of the other.
REASON_MOST, TRACEBACK_MOST = 500, 8000
#: Characters of a task's name or id.
NAME_MOST = 255


class Failure(NamedTuple):
    """Why a message is set aside, where that happened, and which worker had it."""

    reason: str
    traceback: str = ""
    worker: str = ""


def keep(message: Any, failure: Failure) -> None:
    """Call before the message is acknowledged or rejected: by then its letter is kept, or is with its settlement.

    Raises redis' own errors if a letter is not written; then it must not be settled.
    """
    leases = getattr(message.channel, "leases", None)
    if leases is None or not leases.owns(message.delivery_tag):
        write(message, failure)
    elif (lease := leases.held.get(message.delivery_tag)) is not None:  # else it is another worker's by now, or settled
        lease.failed = _plain(failure.reason)[:REASON_MOST], _details(message, failure)


def write(message: Any, failure: Failure) -> None:
    """Keep a letter with the message as it was published, as far as this worker knows. Raises redis' own errors."""
    raw = {**message._raw, "headers": {**(message.headers or {})}}  # noqa: SLF001  what kombu has read
    queue = raw.pop(stock.QUEUE, None) or getattr(message, "lay_in", "")
    deliveries = raw.pop(scripts.DELIVERIES, 0)
    # What is of this delivery, and not of the message.
    raw["headers"].pop("redelivered", None)
    place = {key: value for key, value in (message.delivery_info or {}).items() if key != "redelivered"}
    raw["properties"] = {**raw["properties"], "delivery_info": place, "delivery_tag": str(uuid4())}
    dead_letters.write(
        dumps(raw),
        queue,
        _plain(failure.reason)[:REASON_MOST],
        deliveries if isinstance(deliveries, int) else 0,
        _details(message, failure),
    )


def _details(message: Any, failure: Failure) -> tuple[str, ...]:
    """Names and values of fields, in turn."""
    headers = message.headers or {}
    fields = {
        "task": _plain(str(headers.get("task") or ""))[:NAME_MOST],
        "task_id": _plain(str(headers.get("id") or ""))[:NAME_MOST],
        "traceback": _plain(failure.traceback)[-TRACEBACK_MOST:],
        "worker": failure.worker,
    }
    return tuple(part for name, value in fields.items() if value for part in (name, value))


def _plain(text: str) -> str:
    """Text that can be sent: half a character in an exception must not keep a batch of settlements from Redis."""
    return text.encode(errors="replace").decode()
