"""Celery's consumer: it keeps what it cannot hand to a task (no task of that name, no task at all, a body that cannot be read), does at
once what it is told, and takes nothing of a lost connection along.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify
from typing import Any

from celery import signals
from celery.worker import consumer
from redis.exceptions import RedisError
from vine import promise

from switchyard.broker import aside, reading, transport
from switchyard.logs import get_logger
from switchyard.worker import accepting, handing_back, remote_control, stacks, stopping, storing, strategy, tracing

log = get_logger(__name__)
remote_control.install()


class Consumer(consumer.Consumer):
    """What it cannot hand on becomes a dead letter that says why; Celery would drop some of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        signals.worker_shutting_down.connect(self._end)

    def create_task_handler(self, promise: Any = promise) -> Any:
        """What takes each message. Celery makes two promises for each, and keeps one on the loop's next turn, as a broker's socket
        must be written by the loop alone; our transport takes a settlement at once and from anywhere.
        """
        connection: Any = self.connection
        ours = isinstance(connection.transport, transport.Transport)
        made: Any = _Settling if ours else promise
        return super().create_task_handler(promise=made)

    def call_soon(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Have whoever consumes do this, now. On greenlets Celery leaves it to a next time, and answers "no longer consuming" before:
        until it has waited for messages, two seconds at most, it takes the next one.
        """
        operation = super().call_soon(p, *args, **kwargs)
        self._interrupt()
        return operation

    def _update_qos_eventually(self, index: int) -> Any:
        """There are more slots, or fewer."""
        value = super()._update_qos_eventually(index)  # type: ignore[misc]  # its stubs lack it
        self._interrupt()
        return value

    def close(self) -> None:
        """The worker ends: also where no signal has said so, as at remote control's `shutdown` and after an error of the worker's own."""
        if not stopping.is_set():
            signals.worker_shutting_down.send(sender=self.hostname, sig="", how="Warm", exitcode=0)

    def cancel_active_requests(self) -> None:
        """At once, by a signal. Where nothing can end a task, as on threads and solo, Celery raises in whatever runs just then."""
        if not handing_back.at_once():
            super().cancel_active_requests()

    def _end(self, **_: Any) -> None:
        self._interrupt(for_good=True)

    def _interrupt(self, *, for_good: bool = False) -> None:
        connection: Any = self.connection
        if connection and isinstance(connection.transport, transport.Transport):
            connection.transport.cycle.interrupt(for_good=for_good)

    def update_strategies(self) -> None:
        """Build what takes each task's messages, and what runs each task."""
        stacks.quicken(self.app)
        if strategy.runs_here(self.pool):
            storing.wait_for_redis(self.app)
        super().update_strategies()
        tracing.bind_ids(self.app)

    def on_close(self) -> None:
        """The connection is over, or the worker stops: what no child has taken is forgotten."""
        accepting.hear(self.pool)
        super().on_close()
        hub: Any = getattr(self, "hub", None)
        if hub:
            # Celery notes which entries its timer has before it connects anew, and would keep what was cancelled just now with it: each
            # message that was due within a second, and its lease, for as long as that connection lasts.
            left = [scheduled for scheduled in hub.timer._queue if not scheduled.entry.canceled]  # noqa: SLF001
            heapify(left)
            hub.timer._queue[:] = left  # noqa: SLF001  in place, as the loop has it

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Nothing in this worker has that name."""
        if self._kept(message, f"no worker of this queue knows the task {exc.args[0]!r}"):
            super().on_unknown_task(body, message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """It has another form than a task's."""
        if self._kept(message, "no worker can read it: it names no task"):
            super().on_unknown_message(body, message)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Its arguments, or its content type, are none that a task can have."""
        if self._kept(message, reading.why_not(exc)):
            super().on_invalid_task(body, message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Its body cannot be read; Celery acknowledges it."""
        if self._kept(message, reading.why_not(exc)):
            super().on_decode_error(message, exc)

    def _kept(self, message: Any, reason: str) -> bool:
        """Whether its letter is kept, or will be with its settlement: only then may it be settled."""
        try:
            aside.keep(message, aside.Failure(reason, worker=str(self.hostname)))
        except RedisError as exc:
            log.error("dead_letter_not_kept", cause=reason, reason=str(exc))  # noqa: TRY400  a sentence, no traceback
            return False
        return True


class _Settling:
    """Stands for the promise to acknowledge or reject a message, as Celery makes one and calls it."""

    __slots__ = ("_settle", "_then")

    def __init__(self, _call_soon: Any, settle: tuple[Callable[..., Any]], on_error: Any = None) -> None:
        del on_error  # settling raises nothing: it is noted, and sent by the transport
        (self._settle,) = settle
        self._then: list[Callable[..., Any]] = []

    def then(self, callback: Callable[..., Any], on_error: Any = None) -> None:
        """Call this afterwards."""
        del on_error
        self._then.append(callback)

    def __call__(self, *args: Any) -> None:
        self._settle(*args)
        for callback in self._then:
            callback(self)
