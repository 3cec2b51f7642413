"""A connection's bytes, as the event loop hands them over: what becomes of a head that does not end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from switchyard.producer.http import protocol
from switchyard.producer.http.protocol import Protocol


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def resume_reading(self) -> None: ...


async def app(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def told(*parts: bytes, wait: float = 0) -> Transport:
    transport = Transport()
    config = uvicorn.Config(app, log_config=None, access_log=False)
    connection = Protocol(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(transport)
    for part in parts:
        connection.data_received(part)
        await asyncio.sleep(wait)
    await asyncio.sleep(wait)
    closed = transport.closed
    connection.connection_lost(None)
    transport.closed = closed
    return transport


@pytest.mark.parametrize("line", [b"x" * 1000, b"X: y\r\n" * 200])
def test_a_head_that_grows_too_large_is_refused(line: bytes) -> None:
    """Whether it is one line or many; a large body is none of a head's business."""
    transport = asyncio.run(told(b"GET / HTTP/1.1\r\nX: ", *[line] * 300))
    assert transport.written.startswith(b"HTTP/1.1 400 ")
    assert transport.closed
    large = asyncio.run(told(b"POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n", *[b"x" * 1000] * 900))
    assert large.written.startswith(b"HTTP/1.1 204 ")


def test_a_head_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the first one, nor a later one that has begun; what comes in time is answered."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)
    whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert asyncio.run(told(wait=0.2)).closed
    assert asyncio.run(told(b"GET / HT", wait=0.2)).closed
    later = asyncio.run(told(whole, b"GET / HT", wait=0.2))
    assert later.closed
    assert later.written.startswith(b"HTTP/1.1 204 ")
    assert not asyncio.run(told(whole, wait=0.2)).closed
