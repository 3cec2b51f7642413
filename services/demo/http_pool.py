"""Requests to one server come in from many callers at once, answers go out over connections that are kept open.

The standard library's own client, and nothing around it: on gevent a request takes less than half of the processor time that
urllib3 takes for it. Made of `queue` and `socket` alone, so it serves threads, processes and, where gevent has patched these, greenlets.
"""

import http.client
import queue
from collections.abc import Mapping
from urllib.parse import urlsplit

#: Failures of a connection that the server has closed meanwhile: it has not seen the request.
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
#: Whatever goes wrong on the way to an answer.
FAILURES = (OSError, http.client.HTTPException)


class NotConnected(ConnectionError):
    """No connection was made, so nothing was asked."""


class HttpPool:
    """At most `size` connections to the server of `url`; callers beyond that wait for one. Raises FAILURES."""

    def __init__(self, url: str, *, size: int, connect_s: float, read_s: float) -> None:
        """Connects at the first request only. An answer may take `read_s` seconds between any two of its parts."""
        parts = urlsplit(url)
        self._class = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path.rstrip("/")
        self._connect_s, self._read_s = connect_s, read_s
        self._open: list[http.client.HTTPConnection] = []
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(size):
            self._free.put(None)

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and the body that GET `path` is answered with. Redirects are answers like any other."""
        self._free.get()
        try:
            try:
                if kept := self._kept():
                    return self._exchange(kept, "GET", path)
            except _STALE:
                while older := self._kept():
                    older.close()
            return self._exchange(self._connected(), "GET", path)
        finally:
            self._free.put(None)

    def post(self, path: str, body: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """As `get`, over a new connection: what is sent over one that has been closed meanwhile may have been taken or not."""
        self._free.get()
        try:
            return self._exchange(self._connected(), "POST", path, body, headers)
        finally:
            self._free.put(None)

    def _kept(self) -> http.client.HTTPConnection | None:
        """The one used last, if there is one: a server closes what is idle for long, and the others are idle for longer."""
        try:
            return self._open.pop()
        except IndexError:
            return None

    def _connected(self) -> http.client.HTTPConnection:
        connection = self._class(self._host, self._port, timeout=self._connect_s)
        try:
            connection.connect()
        except OSError as exc:
            connection.close()
            raise NotConnected(str(exc) or type(exc).__name__) from exc
        connection.sock.settimeout(self._read_s)
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> tuple[int, bytes]:  # fmt: skip
        kept = False
        try:
            connection.request(method, self._path + path, body, headers)
            reply = connection.getresponse()
            data = reply.read()
            kept = connection.sock is not None  # the server may have said that it closes it
        finally:
            # Also what was interrupted half way: the next caller would get this one's answer.
            if kept:
                self._open.append(connection)
            else:
                connection.close()
        return reply.status, data
