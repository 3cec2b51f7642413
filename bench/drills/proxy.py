"""A network that can fail, without root: a proxy between a worker and Redis that goes silent, or away."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`, until it is told not to. Its thread ends with `close`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._others: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._silent, self._refusing, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def silence(self) -> None:
        """Forward nothing any more; connections stay open, and what is sent waits."""
        self._silent.set()

    def refuse(self) -> None:
        """Close every connection, and each new one at once."""
        self._refusing.set()

    def restore(self) -> None:
        """Forward again, also what has waited."""
        self._silent.clear()
        self._refusing.clear()

    def close(self) -> None:
        """End all connections and the thread."""
        self._closed.set()
        self._thread.join()

    def _forward(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._closed.wait(0.02 if self._silent.is_set() else 0):
            if self._refusing.is_set():
                for end in list(self._others):
                    self._drop(end)
            if self._silent.is_set():
                continue
            for key, _ in self._selector.select(0.05):
                if self._silent.is_set():  # since it waited
                    break
                if key.fileobj is self._listener:
                    self._connect()
                elif key.fileobj in self._others:
                    self._pass_on(key.fileobj)
        for end in list(self._others):
            self._drop(end)
        self._listener.close()
        self._selector.close()

    def _connect(self) -> None:
        near, _ = self._listener.accept()
        if self._refusing.is_set():
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=1)
        except OSError:  # Redis is away
            near.close()
            return
        for end, other in ((near, far), (far, near)):
            end.settimeout(1)
            self._others[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        try:
            if data := end.recv(65536):
                self._others[end].sendall(data)
                return
        except OSError:
            pass
        self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        for one in (end, self._others.get(end)):
            if one is not None and one in self._others:
                del self._others[one]
                with suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()
