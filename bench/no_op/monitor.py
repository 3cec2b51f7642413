"""What Redis is told to do, by whom: MONITOR's lines in, numbers by command out, of clients and of scripts apart."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread

#: `1700000000.123456 [0 127.0.0.1:50000] "LLEN" "queue"`, where a script's command has `lua` for a client.
_LINE = re.compile(rb'^\+[\d.]+ \[\d+ (\S+)\] "((?:[^"\\]|\\.)*)"')


@dataclass
class Seen:
    """How often each command was sent by a client, and was called by a script."""

    sent: Counter[str] = field(default_factory=Counter)
    inside: Counter[str] = field(default_factory=Counter)

    def add(self, line: bytes) -> None:
        """Count a line of MONITOR's; what is none of them, such as its OK, is nothing."""
        if found := _LINE.match(line):
            counted = self.inside if found[1] == b"lua" else self.sent
            counted[found[2].decode(errors="replace").upper()] += 1

    def __str__(self) -> str:
        """The most frequent ones, for a line of progress."""
        names = [
            ", ".join(f"{name} {number}" for name, number in some.most_common(6)) for some in (self.sent, self.inside)
        ]
        return f"sent: {names[0] or 'nothing'}; in scripts: {names[1] or 'nothing'}"


def watch(port: int, meanwhile: Callable[[], object]) -> tuple[Seen, float]:
    """What Redis executes while that runs, and for how many seconds."""
    seen = Seen()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"MONITOR\r\n")
        lines = connection.makefile("rb")
        lines.readline()  # OK: from here on nothing is missed
        reader = Thread(target=lambda: deque(map(seen.add, lines), maxlen=0), daemon=True)
        reader.start()
        began = time.monotonic()
        meanwhile()
        seconds = time.monotonic() - began
        connection.shutdown(socket.SHUT_RDWR)
        reader.join(10)
    return seen, seconds
