"""What no honest publisher would send, as it lies in a list of Redis; and what of it is a task after all."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

#: Bytes of the payload that is merely large.
HUGE = 4 * 1024**2
#: What may stand where something else should.
OTHERS: tuple[Any, ...] = (None, 1, -1, "x", [], {}, [None])
#: Lists within lists.
DEEP = 20_000


def valid(name: str, queue: str, **changed: Any) -> dict[str, Any]:
    """A message as kombu and Celery write it, whose task `name` does nothing; `changed` replaces top-level keys."""
    body = json.dumps([[name, 0], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    headers = {"lang": "py", "task": "drill.work", "id": name, "root_id": name, "parent_id": None, "group": None,
               "argsrepr": "()", "kwargsrepr": "{}", "origin": "drill", "retries": 0, "eta": None, "expires": None,
               "timelimit": [None, None], "ignore_result": True}  # fmt: skip
    properties = {"correlation_id": name, "reply_to": "", "delivery_mode": 2, "priority": 0, "body_encoding": "base64",
                  "delivery_info": {"exchange": queue, "routing_key": queue}, "delivery_tag": f"tag-{name}"}  # fmt: skip
    message = {"body": base64.b64encode(body.encode()).decode(), "content-encoding": "utf-8",
               "content-type": "application/json", "headers": headers, "properties": properties}  # fmt: skip
    return {**message, **changed}


def nonsense() -> Iterator[bytes]:
    """What is no message at all."""
    yield from (
        b"",
        b" ",
        b"\x00\xff\xfe\x80",
        b"not json",
        b"{",
        b'{"body"',
        b"[]",
        b"{}",
        b"0",
        b"-1",
        b"1e999",
        b"NaN",
        b"null",
    )
    yield from (
        b"true",
        b'"text"',
        b'[[], "", "x"]',
        b'{"headers": {"id": "\xff\xfe"}}',
        b"\xef\xbb\xbf{}",
        b'{"x": "\\ud800"}',
    )
    yield b"[" * DEEP + b"]" * DEEP
    yield b'{"a":' * DEEP + b"1" + b"}" * DEEP
    yield b'"' + b"x" * HUGE + b'"'


def misshapen(queue: str) -> Iterator[bytes]:
    """Messages of which one part is missing, or is of another kind than it should be."""
    whole = valid("shape", queue)
    for key in whole:
        yield _raw({k: v for k, v in whole.items() if k != key})
        for value in OTHERS:
            yield _raw({**whole, key: value})
    for key in ("delivery_info", "delivery_tag", "body_encoding"):
        for value in OTHERS:
            yield _raw({**whole, "properties": {**whole["properties"], key: value}})
    for key in ("task", "id", "eta", "expires", "retries", "timelimit", "root_id"):
        for value in OTHERS:
            yield _raw({**whole, "headers": {**whole["headers"], key: value}})
    yield _raw({**whole, "headers": {**whole["headers"], "task": "nobody.knows.this"}})
    yield _raw(
        {
            **whole,
            "content-type": "application/x-python-serialize",
            "body": base64.b64encode(b"cos\nsystem\n.").decode(),
        }
    )
    yield _raw({**whole, "body": base64.b64encode(b"\x80\x04.").decode()})


def counted(queue: str) -> Iterator[tuple[str, bytes]]:
    """Valid messages, by the names of their tasks, that claim a number of deliveries where the transport counts its own."""
    numbers = ("999999", "-5", "1e400", "0", "null", '"5"', "5.5", "[]", "99999999999999999999999999", "5, 5", "3")
    for place, number in enumerate(numbers):
        name = f"{queue}.counted-{place}"
        yield name, f'{{"x-deliveries": {number}, {_raw(valid(name, queue)).decode()[1:]}'.encode()


def spoofed(queue: str, tags: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Valid messages, by the names of their tasks, that bear the tags of other ones' deliveries."""
    for place, tag in enumerate(tags):
        message = valid(f"{queue}.spoofed-{place}", queue)
        yield message["headers"]["id"], _raw({**message, "properties": {**message["properties"], "delivery_tag": tag}})


def _raw(message: object) -> bytes:
    return json.dumps(message).encode()
