"""kombu's Redis transport with leases: no kill loses a message, and none runs twice while its worker lives.

A message is popped and recorded as unacknowledged in one step, in Lua, as many at once as there is room for; the score of its
record says until when it is leased. A thread renews leases and puts back what others have lost (broker/keeper.py). Each delivery
has a tag of its own, so whoever has lost a lease settles nothing that is another's by now. An idle worker waits for a message
that the server pushes when a list is touched (CLIENT TRACKING, https://redis.io/docs/latest/develop/reference/client-side-caching/),
whoever has published.

Keys and formats stay kombu's own, so that stock publishers and workers share a broker with these. docs/delivery.md has the
states of a message and its keys. It is written against the inner parts of kombu 5.7: requirements/ says which.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import redis
from kombu.utils import eventio

from switchyard.broker import channel, stock
from switchyard.broker.wire import is_lost
from switchyard.worker import stopping


class Poller(redis.MultiChannelPoller):
    """Before each wait of the loop, every channel has its turn; then it sleeps until something rings."""

    #: Celery's event loop (prefork, threads, solo); None where a greenlet polls by itself.
    loop: Any = None
    _alarm_at = 0.0
    _handed, _may_sleep = 0, channel.RECHECK_S
    interrupted = _interrupts = False

    def __init__(self) -> None:
        super().__init__()
        # On greenlets kombu asks select(), which knows no descriptor beyond 1,023. eventlet has nothing else.
        if eventio.xpoll and isinstance(self.poller, eventio._select):  # noqa: SLF001
            self.poller = _Poll()

    def on_poll_start(self) -> None:
        """Called before each wait."""
        self._handed, self._may_sleep = 0, channel.RECHECK_S
        for each in list(self._channels):
            if each.active_queues:
                if each.bell.fd not in self._fd_to_chan:
                    self._fd_to_chan[each.bell.fd] = (each, "BELL")
                    self.poller.register(each.bell.fd, self.eventflags)
                handed, may_sleep = each.turn()
                self._handed, self._may_sleep = self._handed + handed, min(self._may_sleep, may_sleep)
            if each.active_fanout_queues:
                self._register_LISTEN(each)
        if self.loop is not None and self._may_sleep < 1 and monotonic() > self._alarm_at:
            self._alarm_at = monotonic() + self._may_sleep
            self.loop.call_later(self._may_sleep, self._alarm)

    def _alarm(self) -> None:
        for each in self._channels:
            each.bell.ring()

    def interrupt(self, *, for_good: bool = False) -> None:
        """Return from :meth:`get` before anything else is fetched, as its caller has something to do, or is to end and not to be kept
        waiting by any further call; a loop has turns for that.
        """
        self._interrupts = for_good or self._interrupts
        self.interrupted = self.loop is None
        self._alarm()

    def discard(self, closed: Any) -> None:
        """A channel is closed."""
        super().discard(closed)
        # Where a loop is, it knows the others.
        mine = [
            fd
            for fd, (each, kind) in self._fd_to_chan.items()
            if each is closed and (kind == "BELL" or self.loop is None)
        ]
        for fd in mine:
            del self._fd_to_chan[fd]
            with suppress(KeyError, ValueError, OSError):
                self.poller.unregister(fd)

    def on_readable(self, fileno: int) -> Any:
        """Something rings: a channel's own bell, the server's, or one of remote control."""
        each, kind = self._fd_to_chan.get(fileno, (None, None))
        if kind == "BELL":
            each.bell.heard()
        elif kind == "BRPOP":
            each.on_readable()
        elif kind == "LISTEN":
            try:
                return each._receive()  # noqa: SLF001  as kombu's own
            except Exception as exc:
                # As of a task's message (channel.py): no broadcast may end a worker, or its connection.
                if not stopping.is_worker() or is_lost(exc, each.connection_errors):
                    raise
                channel.log.exception("broadcast_not_taken")
                if each.subclient.connection.can_read(timeout=0):  # what came with it: no poll sees that any more
                    return self.on_readable(fileno)
        return None

    def on_poll_init(self, poller: Any) -> None:
        """The loop's own poller takes over."""
        self.poller = poller

    def maybe_restore_messages(self) -> None:
        """The keeper does."""

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Where no loop is: a turn, and a wait. Raises Empty if nothing was handed on and nobody has interrupted it."""
        del callback
        self._in_protected_read = True
        try:
            self.maybe_refresh_binding_expiry()
            if not self.interrupted:
                self.on_poll_start()
            if self._handed or self.interrupted:
                return
            events = self.poller.poll(self._may_sleep if timeout is None else min(timeout, self._may_sleep)) or ()
            heard = [self.handle_event(fd, event) for fd, event in events if self._is_listening(fd)]
            for fd, event in events:
                if not self._is_listening(fd):
                    self.handle_event(fd, event)
            if not heard and not self.interrupted:
                raise Empty
        finally:
            self._in_protected_read, self.interrupted = False, self._interrupts
            while self.after_read:
                self.after_read.pop()()

    def _is_listening(self, fd: int) -> bool:
        return bool(self._fd_to_chan.get(fd, (None, None))[1] == "LISTEN")


class _Poll(eventio._poll):  # type: ignore[name-defined]  # noqa: SLF001  kombu has it where no greenlets are; its stubs lack it
    """As forgiving as what kombu has on greenlets: what is closed is forgotten however often."""

    def unregister(self, fd: Any) -> None:
        """It is not polled any more."""
        with suppress(KeyError, ValueError, OSError):
            super().unregister(fd)


class Transport(stock.Transport):
    """The transport of redis:// and rediss:// URLs; celeryconfig plugs it in."""

    Channel = channel.Channel
    cycle: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Celery's event loop polls from now on."""
        self.cycle.loop = loop
        super().register_with_event_loop(connection, loop)
