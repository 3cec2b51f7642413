"""Bytes of a connection in, requests out: uvicorn's protocol, with bounds on a request's head, which it does not have."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Seconds in which a connection's first request, and each later one once it has begun, must have sent its head.
HEAD_S = 10.0
#: Bytes that a head may have at least before it is too large; what came in the same packet may count, too.
MOST_BYTES = 256 * 1024


class Protocol(HttpToolsProtocol):
    """One connection."""

    _timer: asyncio.TimerHandle | None = None
    _bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The last byte of a request's head."""
        self._stop_waiting()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse it, and see whether the head that it may be a part of grows too large."""
        super().data_received(data)
        if self._timer and not self.transport.is_closing():
            self._bytes += len(data)
            if self._bytes > MOST_BYTES:
                self.send_400_response(f"Expected at most {MOST_BYTES} bytes of headers.")

    def _await_head(self) -> None:
        self._stop_waiting()
        self._bytes = 0
        self._timer = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self.transport.close()
