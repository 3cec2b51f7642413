"""Celery's consumer, which keeps what it cannot hand to a task: no task of that name, no task at all, a body that cannot be read."""

from __future__ import annotations

from typing import Any

from celery.worker import consumer
from redis.exceptions import RedisError

from switchyard.broker import aside, reading
from switchyard.logs import get_logger

log = get_logger(__name__)


class Consumer(consumer.Consumer):
    """Each of these messages becomes a dead letter that says why; Celery would drop some of them."""

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
