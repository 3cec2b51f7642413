"""A message as it lay in a list in, kombu's message out; or why no worker can read it."""

from __future__ import annotations

from json import JSONDecoder
from typing import Any

from kombu.utils.json import object_hook

from switchyard.broker import scripts

#: A message that was lost so often may be what kills its workers; as in fetch.lua.
SUSPECT = 2

#: As kombu.utils.json.loads, which makes a new decoder for each message.
_decode = JSONDecoder(object_hook=object_hook).decode

_COUNTED = b'{"%s": ' % scripts.DELIVERIES.encode()


def read(raw: bytes, tag: str) -> dict[str, Any]:
    """The message, with the tag of this delivery. Raises whatever a message raises that is not one."""
    message: dict[str, Any] = _decode(raw.decode())
    message["properties"]["delivery_tag"] = tag
    # Celery takes it for two numbers when the task is on its way to the pool, where it would end the worker.
    hard, soft = message["headers"].get("timelimit") or (None, None)
    if not all(limit is None or isinstance(limit, int | float) for limit in (hard, soft)):
        raise TypeError(f"its time limits are no numbers: {hard!r}, {soft!r}")
    if message.get(scripts.DELIVERIES):
        message["headers"]["redelivered"] = message["properties"]["delivery_info"]["redelivered"] = True
    if message.get(scripts.REVOKED_MARK):
        from celery.worker import state  # noqa: PLC0415  only a worker that runs gets one

        state.revoked.add(message["headers"]["id"])
    return message


def why_not(exc: Exception) -> str:
    """The reason that is kept with a message that cannot be read."""
    return f"no worker can read it: {type(exc).__name__}: {exc}"[:500]


def deliveries(raw: bytes) -> int:
    """How often a message was lost with its worker."""
    digits = raw[len(_COUNTED) : raw.find(b",", len(_COUNTED))] if raw.startswith(_COUNTED) else b""
    return int(digits[:9]) if digits.isdigit() else 0
