"""A port in; a socket that listens on it out, before anything else of a server is loaded."""

from __future__ import annotations

import errno
import socket

from switchyard.errors import RuntimeRefusal


def listen(port: int, variable: str) -> socket.socket:
    """Listen on 127.0.0.1:`port`. Raises RuntimeRefusal naming the setting `variable`: a sentence instead of a server's log."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as exc:
        reason = "is in use" if exc.errno == errno.EADDRINUSE else f"cannot be opened ({exc.strerror})"
        raise RuntimeRefusal(f"Port {port} {reason}. Set {variable} to a free one.") from exc
