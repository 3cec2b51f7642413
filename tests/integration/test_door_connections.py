"""The HTTP door's connections to Redis, on the loop that serves it: what ends one is no caller's business."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvloop
from tests.support import Server

from switchyard.producer.http.door import Door

#: Closed with a reset, as by a peer that does not know the connection any more, in place of an orderly end.
RESET = struct.pack("ii", 1, 0)


def relay(listener: socket.socket, port: int, reset: threading.Event) -> None:
    """Hand one connection on to this port until either side ends it, or it is to be reset."""
    ours, _ = listener.accept()
    with ours, socket.create_connection(("127.0.0.1", port)) as theirs:
        other = {ours: theirs, theirs: ours}
        while not reset.is_set():
            for readable in select.select(list(other), [], [], 0.02)[0]:
                data = readable.recv(65536)
                if not data:
                    return
                other[readable].sendall(data)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def test_a_connection_that_was_reset_is_made_anew(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset is no end of file: the loop refuses to write to it with a RuntimeError, and the command is sent again."""
    listener, reset = socket.create_server(("127.0.0.1", 0)), threading.Event()
    relays = [
        threading.Thread(target=relay, args=(listener, redis_server.port, event), daemon=True)
        for event in (reset, threading.Event())
    ]
    monkeypatch.setenv("CELERY_BROKER_URL", f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", redis_server.environment["CELERY_RESULT_BACKEND"])

    async def asked_before_and_after() -> None:
        door = Door(asyncio.Event())
        relays[0].start()
        assert await door.broker.ping()
        reset.set()
        await asyncio.to_thread(relays[0].join)
        await asyncio.sleep(0.1)  # until the loop has seen it
        relays[1].start()
        assert await door.broker.ping()
        await door.broker.aclose()

    # In a thread of its own: the browser's driver, in other tests, leaves its loop to this one.
    with ThreadPoolExecutor() as thread:
        thread.submit(uvloop.run, asked_before_and_after()).result()
    listener.close()
