"""A request's body in, read within its limit; bytes out, for the app to read as often as it likes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

from starlette.types import Message, Receive, Scope, Send

from switchyard.events.event import MAX_BYTES
from switchyard.producer.http.problems import Problem

EVENT, BATCH, JSON = "application/cloudevents+json", "application/cloudevents-batch+json", "application/json"
#: Seconds for which a caller that was refused may go on sending.
LINGER_S = 2.0
_CHARSET = re.compile(r'charset="?([^"]*)"?', re.IGNORECASE)


@lru_cache(maxsize=32)
def media_type(content_type: bytes) -> str | None:
    """The media type that a Content-Type names, if it is one of ours; None for another, or another charset than UTF-8."""
    name, *parameters = content_type.decode("latin-1").split(";")
    charsets = [found[1].lower() for each in parameters if (found := _CHARSET.fullmatch(each.strip()))]
    name = name.strip().lower()
    return name if name in (EVENT, BATCH, JSON) and set(charsets) <= {"utf-8"} else None


def is_announced(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body follows."""
    return headers.get(b"content-length", b"0").strip(b"0") != b"" or b"transfer-encoding" in headers


def check_type(method: str, headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that is not said to be JSON, plainly encoded: what a browser sends unasked is never that."""
    given = headers.get(b"content-type")
    if (is_announced(headers) or (method == "POST" and given)) and media_type(given or b"") is None:
        raise Problem(415, f"Expected Content-Type: {JSON}, {EVENT} or {BATCH}, in UTF-8.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem(415, "Expected a body without Content-Encoding.", {"Accept-Encoding": "identity"})


def check_length(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that says itself that it is too large."""
    digits = headers.get(b"content-length", b"0")
    if len(digits) > 20 or int(digits) > MAX_BYTES:
        raise _too_large()


async def read(receive: Receive) -> bytes | None:
    """The whole body; None from a caller that has gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _too_large() -> Problem:
    return Problem(413, f"The body is too large; expected at most {MAX_BYTES:,} bytes.")


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, and then what follows it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request whose body was not read, at once, and close its connection after the body.

    A connection that is closed while bytes arrive is reset, and the answer is lost with it: so they are taken, for a while.
    """
    if not is_announced(dict(scope["headers"])):
        await problem.response()(scope, receive, send)
        return
    response = problem.response()
    response.headers["Connection"] = "close"
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
