"""A port in; a socket that listens on it at LISTEN_ADDRESS out, before anything else of a server is loaded."""

from __future__ import annotations

import errno
import socket

from switchyard.errors import RuntimeRefusal
from switchyard.settings import settings


def listen(port: int, variable: str) -> socket.socket:
    """Listen on `port` of LISTEN_ADDRESS. Raises RuntimeRefusal naming the setting `variable`: a sentence instead of a server's log."""
    try:
        return socket.create_server((settings().listen_address, port))
    except OSError as exc:
        reason = "is in use" if exc.errno == errno.EADDRINUSE else f"cannot be opened ({exc.strerror})"
        raise RuntimeRefusal(f"Port {port} {reason}. Set {variable} to a free one.") from exc
