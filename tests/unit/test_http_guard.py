"""The HTTP door's guard, called as uvicorn calls it: what it lets through, and how it answers for an app that does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from switchyard.producer.http import bodies, guard
from switchyard.producer.http.guard import Guard
from switchyard.producer.http.tokens import Tokens

Headers = list[tuple[bytes, bytes]]
HEADERS: Headers = [(b"host", b"localhost"), (b"authorization", b"Bearer one")]
JSON = [*HEADERS, (b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]


@pytest.fixture
def call(tmp_path: Path) -> Callable[..., tuple[int, bytes]]:
    """Send a request through a guard to an app; the answer's status and body. None of the messages: the caller waits."""
    (tmp_path / "tokens").write_text("alice:one")

    def run(
        app: Any, headers: Headers = HEADERS, messages: Any = ({"type": "http.request"},), method: str = "POST"
    ) -> tuple[int, bytes]:
        async def ask() -> tuple[int, bytes]:
            guarded = Guard(app, Tokens(tmp_path / "tokens"), ["localhost", " [::1] "])
            left, sent = list(messages), []

            async def receive() -> Any:
                if not left:
                    await asyncio.Event().wait()
                return left.pop(0)

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {"type": "http", "method": method, "path": "/v1/x", "headers": headers, "state": {}}
            await guarded(scope, receive, send)
            status = sent[0]["status"] if sent else 0
            return status, b"".join(message.get("body", b"") for message in sent[1:])

        return asyncio.run(ask())

    return run


def body(*parts: bytes) -> list[dict[str, Any]]:
    more = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    return [*more, {"type": "http.request", "body": b"", "more_body": False}]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the caller and the body, which is there at once."""
    message = await receive()
    assert not message.get("more_body")
    await PlainTextResponse(scope["state"]["caller"].encode() + b":" + message["body"])(scope, receive, send)


async def untouched(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the guard let it through")


def test_a_request_of_a_known_caller_reaches_the_app_with_its_whole_body(call: Callable[..., Any]) -> None:
    """In one piece, however it came."""
    assert call(echo, JSON, body(b"ab", b"", b"c")) == (200, b"alice:abc")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (HEADERS[1:], 421),
        ([*HEADERS, (b"host", b"localhost")], 421),
        ([(b"host", b"example.com")], 421),
        (HEADERS[:1], 401),
        ([*HEADERS, HEADERS[1]], 401),
        ([HEADERS[0], (b"authorization", b"bearer  two"), (b"content-type", b"text/plain")], 401),
        ([*HEADERS, (b"content-type", b"text/plain"), (b"content-length", b"9999999999")], 415),
        ([*HEADERS, (b"content-length", b"2")], 415),
        ([*HEADERS, (b"content-type", b"application/json"), (b"content-length", b"9999999999")], 413),
        ([*HEADERS, (b"content-type", b"application/json"), (b"content-length", b"9" * 5000)], 413),
    ],
)
def test_the_first_check_that_fails_answers(call: Callable[..., Any], headers: Headers, status: int) -> None:
    """Host, caller, content type, size: each gives away less than the next; the answer is there before the body is."""
    answered, text = call(untouched, headers, body(b"x"))
    assert (answered, json.loads(text)["status"]) == (status, status)


def test_a_body_that_grows_too_large_is_not_read_to_its_end(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused at the limit; what follows is thrown away for a while, so that the answer arrives."""
    monkeypatch.setattr(bodies, "LINGER_S", 0.01)
    endless = [{"type": "http.request", "body": b"x" * 2**19, "more_body": True}] * 4
    assert call(untouched, JSON, endless)[0] == 413


def test_a_caller_that_goes_gets_no_answer(call: Callable[..., Any]) -> None:
    """And no error is logged for it."""
    assert call(untouched, JSON, [{"type": "http.disconnect"}]) == (0, b"")


def test_a_deadline_ends_what_takes_too_long(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """408 while the body is awaited, 503 in the app; a response that has begun may go on."""
    monkeypatch.setattr(guard, "DEADLINE_S", 0.05)
    monkeypatch.setattr(bodies, "LINGER_S", 0.01)

    async def hangs(*_: Any) -> None:
        await asyncio.Event().wait()

    async def streams(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"end"})

    assert call(untouched, JSON, ())[0] == 408
    assert call(hangs)[0] == 503
    assert call(streams) == (200, b"end")


def test_what_the_app_does_not_expect_is_a_problem_without_details(call: Callable[..., Any]) -> None:
    """The details are in the log; a response that has begun is left as it is."""

    async def fails(*_: Any) -> None:
        raise RuntimeError("secret")

    async def fails_late(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise TimeoutError("secret")

    status, text = call(fails)
    assert (status, b"secret" in text) == (500, False)
    assert call(fails_late) == (200, b"")


def test_more_requests_than_can_be_answered_are_told_so(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is begun that would only wait."""
    monkeypatch.setattr(guard, "MOST_REQUESTS", 0)
    assert call(untouched)[0] == 503


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"application/json", "application/json"),
        (b" Application/JSON ; charset=UTF-8", "application/json"),
        (b'application/cloudevents+json;charset="utf-8";x=y', "application/cloudevents+json"),
        (b"application/cloudevents-batch+json", "application/cloudevents-batch+json"),
        (b"application/json;charset=utf-16", None),
        (b"application/json;charset=utf-8;charset=latin-1", None),
        (b"application/jsonp", None),
        (b"text/json", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_only_json_in_utf_8_is_a_media_type_of_ours(given: bytes, expected: str | None) -> None:
    """In any case of letters; parameters that say nothing of the charset say nothing."""
    assert bodies.media_type(given) == expected
