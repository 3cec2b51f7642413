"""The thread that keeps a process' leases: it renews, gives back what is due, sweeps, and settles what a blocked consumer cannot.

It is a thread of the operating system with a connection of its own, also under gevent: neither a full pool nor a consumer that
waits for Redis nor a task that never yields can keep it from its work. Only code that holds the interpreter's lock can: a call
into C that lasts longer than a lease belongs on a prefork queue, whose children have interpreters of their own.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from switchyard.broker import scripts
from switchyard.broker.leases import Leases
from switchyard.broker.wire import call, calls
from switchyard.threads import real_thread

#: Seconds between two turns at most, and between two for the sake of what is due.
LONGEST, OFTEN = 1.0, 0.2

#: What the thread has to say; the consumer logs it, since on gevent the log's locks belong to the hub.
Note = tuple[str, dict[str, object]]


class Keeper:
    """Keeps `leases` from `start` to the end of the process: tasks outlive a connection, and their leases with them."""

    def __init__(self, leases: Leases) -> None:
        self.leases = leases
        self.notes: deque[Note] = deque(maxlen=100)
        self._pool: Any = None
        self._connection: Any = None
        self._away = False
        self._due_s = LONGEST

    @property
    def every(self) -> float:
        """Seconds between two renewals: a tenth of a lease, and at most LONGEST."""
        return float(min(LONGEST, self.leases.lease / 10))

    def start(self, pool: Any) -> None:
        """Begin, or go on with connections like those of this pool; in nobody's pool, whatever becomes of a channel."""
        begun, self._pool = self._pool is not None, pool
        if not begun:
            start, sleep = real_thread()
            start(self._run, (sleep,))

    def _connected(self) -> Any:
        # Within a third of a lease: the next try must come before it is over.
        connection = self._pool.connection_class(
            **{**self._pool.connection_kwargs, "socket_timeout": self.leases.lease / 3}
        )
        connection.connect()
        return connection

    def flush(self) -> None:
        """Settle everything now, on a connection of its own. Raises redis' own errors."""
        if self._pool is None:
            return
        connection = self._connected()
        try:
            script = call(connection, "SCRIPT", "LOAD", scripts.SETTLE)
            if others := self.leases.under_way():
                calls(connection, self.leases.settling(others, script))
            while batch := self.leases.settled():
                self._send(connection, batch, script)
            if not self.leases.consuming:
                call(connection, "HDEL", self.leases.workers, self.leases.worker)
        finally:
            connection.disconnect()

    def _run(self, sleep: Callable[[float], None]) -> None:
        while os.getpid() == self.leases.pid:
            begun = monotonic()
            if self.leases.consuming or self.leases.held or self.leases.settlements:
                try:
                    self._keep()
                    self._note_return()
                except Exception as exc:  # noqa: BLE001  whatever it is, leases must be renewed again
                    self._note_loss(exc)
            sleep(max(0.05, begun + min(self.every, self._due_s) - monotonic()))

    def _keep(self) -> None:
        fresh = self._connection is None
        if fresh:
            self._connection = self._connected()
            self._settle, self._keep_up = (
                call(self._connection, "SCRIPT", "LOAD", s) for s in (scripts.SETTLE, scripts.KEEP)
            )
        # Leases first. The consumer settles what it can, with its next fetch; what is left after half a turn, it cannot.
        back, aside, lapsed, due_ms = call(self._connection, *self.leases.keeping(self._keep_up, forget=fresh))
        # Most of what is due at nearly one time goes together.
        self._due_s = LONGEST if due_ms < 0 else max(OFTEN if due_ms else 0.0, due_ms / 1000)
        self.leases.lapsed(lapsed)
        if back or aside:
            self.notes.append(("messages_of_lost_workers", {"put_back": back, "set_aside": aside}))
        while batch := self.leases.settled(older_s=self.every / 2):
            self._send(self._connection, batch, self._settle)

    def _send(self, connection: Any, batch: list[Any], script: str) -> None:
        try:
            calls(connection, self.leases.settling(batch, script))
        except BaseException:
            self.leases.again(batch)
            raise
        self.leases.sent(batch)

    def _note_loss(self, exc: Exception) -> None:
        self._due_s = LONGEST
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
        if not self._away:  # once, not each second
            self.notes.append(("leases_not_renewed", {"reason": str(exc)}))
        self._away = True

    def _note_return(self) -> None:
        if self._away:
            self.notes.append(("leases_renewed_again", {}))
        self._away = False


_all: dict[tuple[Any, ...], Keeper] = {}


def keeper_at(channel: Any) -> Keeper:
    """This process' keeper at the channel's broker."""
    client = channel.connection.client
    place = (os.getpid(), client.hostname, client.port, client.virtual_host, channel.global_keyprefix)
    if place not in _all:
        _all[place] = Keeper(Leases(channel))
    return _all[place]


def keepers() -> list[Keeper]:
    """One for each broker that this very process, and not its parent, consumes from."""
    return [keeper for place, keeper in _all.items() if place[0] == os.getpid()]
