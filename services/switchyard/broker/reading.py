"""A message as it lay in a list in, kombu's message out; or why no worker can read it."""

from __future__ import annotations

import json
from binascii import a2b_base64
from contextlib import suppress
from typing import Any

from kombu.transport import virtual
from kombu.utils.json import object_hook

from switchyard.broker import scripts

#: A message that was lost so often may be what kills its workers; as in fetch.lua.
SUSPECT = 2

#: As kombu.utils.json.loads, which makes a new decoder for each message, and asks for each object whether it stands for another type.
_decode, _decode_plain = json.JSONDecoder(object_hook=object_hook).decode, json.JSONDecoder().decode
#: What is in a text that has such an object.
_TYPE = b'"__type__"'

_COUNTED = b'{"%s": ' % scripts.DELIVERIES.encode()


def read(raw: bytes, tag: str) -> dict[str, Any]:
    """The message, with the tag of this delivery. Raises whatever a message raises that is not one."""
    message: dict[str, Any] = (_decode if _TYPE in raw else _decode_plain)(raw.decode())
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


class Message(virtual.Message):
    """kombu's; made in a shorter way where it is as Celery publishes it."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **kwargs: Any) -> None:
        properties, headers, text = payload["properties"], payload.get("headers"), payload.get("body")
        plain = properties.get("body_encoding") == "base64" and not kwargs
        if not (plain and headers and text and not headers.get("compression")):
            super().__init__(payload, channel, **kwargs)
            return
        self.body = a2b_base64(text)  # type: ignore[assignment]  # bytes, as kombu's own, whatever its stubs say
        self._raw, self.channel, self.headers, self.properties = payload, channel, headers, properties
        self.delivery_tag, self.delivery_info = properties["delivery_tag"], properties.get("delivery_info") or {}
        self.content_type, self.content_encoding = payload.get("content-type"), payload.get("content-encoding")
        self.errors, self.accept = [], None
        self._decoded_cache, self._state = None, "RECEIVED"


def body(message: Any) -> Any:
    """What the body of kombu's message says, read once. Raises what kombu raises of one that nobody can or may read."""
    plain = message.content_type == "application/json" and message.content_encoding == "utf-8" and not message.errors
    if plain and message.content_type in (message.accept or ()) and _TYPE not in message.body:
        with suppress(ValueError):  # kombu says so in words that Celery knows
            message._decoded_cache = _decode_plain(message.body.decode())  # noqa: SLF001  where kombu keeps it
    return message.payload


def why_not(exc: Exception) -> str:
    """The reason that is kept with a message that cannot be read."""
    return f"no worker can read it: {type(exc).__name__}: {exc}"[:500]


def deliveries(raw: bytes) -> int:
    """How often a message was lost with its worker."""
    digits = raw[len(_COUNTED) : raw.find(b",", len(_COUNTED))] if raw.startswith(_COUNTED) else b""
    return int(digits[:9]) if digits.isdigit() else 0
