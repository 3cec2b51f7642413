"""A task's message as it lay in a queue in, what it asks for out: for whoever looks at it, and runs nothing."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from kombu import compression, serialization
from kombu.utils.json import dumps

from switchyard.broker import reading

#: What our workers take.
_JSON = "application/json"


@dataclass(frozen=True)
class TaskMessage:
    """Its headers; its arguments; and what Celery does after it (`callbacks`, `errbacks`, `chain`, `chord`). Of a body that is no
    JSON, only the type is known.
    """

    headers: dict[str, Any]
    content_type: str
    args: Any = None
    kwargs: Any = None
    after: Any = None


def read(raw: bytes) -> TaskMessage:
    """What a worker would read. Raises whatever that raises for what is none; `reading.why_not` has words for it."""
    message = reading.read(raw, "")
    headers, properties = message["headers"], message["properties"]
    content_type = str(message.get("content-type"))
    if content_type != _JSON:
        return TaskMessage(headers, content_type)
    body = message["body"]
    if properties.get("body_encoding") == "base64":
        body = base64.b64decode(body)
    if packed := headers.get("compression"):
        body = compression.decompress(body, packed)
    payload = serialization.loads(body, content_type, str(message.get("content-encoding") or "utf-8"), accept={_JSON})
    if isinstance(payload, dict):  # as Celery 3 wrote it: all of the task is in the body
        after = {key: payload[key] for key in ("callbacks", "errbacks", "chord") if payload.get(key)}
        return TaskMessage({**payload, **headers, "args": None, "kwargs": None}, content_type, payload.get("args"), payload.get("kwargs"), after)  # fmt: skip
    args, kwargs, after = payload
    return TaskMessage(headers, content_type, args, kwargs, {k: v for k, v in (after or {}).items() if v})


def text(value: Any) -> str:
    """As JSON, on one line, for people."""
    return dumps(value, ensure_ascii=False)
