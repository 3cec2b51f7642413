"""A task's end in, what becomes of its message out: where it has failed for good, its acknowledgement sets it aside with the cause.

`celery.app.task.Task.Request` is this one in our workers (hooks.py). A task's own `Request` stays what it is; one that derives from
this has dead letters, too.
"""

from __future__ import annotations

from threading import current_thread, main_thread
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Ignore, Reject, Retry, TaskRevokedError, Terminated, TimeLimitExceeded, WorkerLostError
from celery.utils.serialization import UnpickleableExceptionWrapper
from celery.worker import request
from celery.worker.state import active_requests, revoked
from kombu.exceptions import OperationalError
from kombu.utils.compat import detect_environment
from kombu.utils.encoding import safe_repr
from redis.exceptions import RedisError

from switchyard.broker import aside
from switchyard.broker.aside import Failure
from switchyard.hooks import HEADER
from switchyard.logs import get_logger

#: Tasks that are not to run once more, and why: they are revoked in this worker, and that sets them aside.
given_up: dict[str, str] = {}

log = get_logger(__name__)


class Request(request.Request):
    """Celery's, for all that is not said here."""

    #: Why it has failed for good, once it has.
    failure: Failure | None = None
    _kept = _is_killed = False

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:  # noqa: FBT001, FBT002  Celery's
        """Its task has raised something, or its process was lost."""
        exc = _raised(exc_info)
        if isinstance(exc, Reject) and isinstance(exc.reason, OperationalError) and not self.acknowledged:
            exc.requeue = True  # a retry that could not be published: Celery makes a rejection of it, and Redis may be away for a moment
        self.failure = self._failure_of(exc_info)
        if isinstance(exc, MemoryError):
            # It was the task's. Celery raises it here, which ends prefork's main process with all that runs there, and costs other pools
            # a slot. In this form it is a failure as any other.
            exc_info.exception = UnpickleableExceptionWrapper.from_exception(exc)
        # Where nobody has told of it yet (tracing.py), Celery's own way does.
        return_ok = return_ok and not getattr(exc_info, "is_untold", False)
        try:
            return super().on_failure(exc_info, send_failed_event, return_ok)
        finally:  # whatever the result backend says to it
            self._keep_what_was_acknowledged_before()

    def on_accepted(self, pid: Any, time_accepted: float) -> None:
        """It is about to run. On threads it may have waited since it was asked whether it is to: it is asked again."""
        if detect_environment() == "default" and current_thread() is not main_thread() and self.revoked():
            raise TaskRevokedError(self.id)
        super().on_accepted(pid, time_accepted)

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Its task is ended, if its pool can; one that has not begun never does."""
        if self.time_start or getattr(pool, "_pool", None) is not None:
            super().terminate(pool, signal)

    def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001  Celery's
        """It has reached a limit; at the soft one its task hears of it. In a greenlet, what is done once it has ended may, too."""
        if not soft and self not in active_requests:
            return
        if not soft:
            self.failure = self._failure(_of_time_limit(timeout))
        try:
            super().on_timeout(soft, timeout)
        finally:  # as above
            self._keep_what_was_acknowledged_before()

    def revoked(self) -> bool:
        """Whether its task is not to run: it was revoked by Celery's means, or starts a workflow that was cancelled."""
        if super().revoked():
            return True
        if not self._starts_workflow() or not _is_cancelled(self.id):
            return False
        # As Celery does it: acknowledged, told to monitors, and never given to the pool.
        self._announce_revoked("cancelled", False, None, False)
        return True

    def cancel(self, pool: Any, *args: Any, **kwargs: Any) -> None:
        """It is ended, and its message goes back. Celery takes a greenlet that was killed for one that has succeeded."""
        self._is_killed = bool(getattr(pool, "is_green", False))
        super().cancel(pool, *args, **kwargs)

    def _starts_workflow(self) -> bool:
        """Only such a task carries its own id as the workflow's (hooks.py): any other costs nothing here."""
        header: Any = self.request_dict.get(HEADER)
        return isinstance(header, dict) and header.get("workflow_id") == self.id

    def acknowledge(self) -> None:
        """Done with; or, if it has failed, set aside."""
        if self._is_killed:
            return
        if given_up and self.id in given_up:
            reason = given_up.pop(self.id)
            self.failure = self._failure(reason)
            self._context.given_up = reason  # for hooks.py, which ends the workflow that it starts
            revoked.discard(self.id)  # once replayed, it may
        if self.failure is None or self._may_settle(self.failure):
            super().acknowledge()

    def reject(self, requeue: bool = False) -> None:  # noqa: FBT001, FBT002  Celery's
        """Back to the queue, which is no end; or set aside."""
        if requeue:
            self.failure = None
        if requeue or self._may_settle(self.failure or self._failure("rejected")):
            super().reject(requeue)

    def _may_settle(self, failure: Failure) -> bool:
        if self.acknowledged:
            return True
        try:
            aside.keep(self.message, failure)
        except RedisError as exc:  # it stays unacknowledged, and runs again
            self._log_loss(failure, exc)
            return False
        self._kept = True
        return True

    def _keep_what_was_acknowledged_before(self) -> None:
        """A task without acks_late is acknowledged when it begins: nobody else has its message any more."""
        if self.failure is None or self._kept or not self.acknowledged:
            return
        self._kept = True
        try:
            aside.write(self.message, self.failure)
        except RedisError as exc:
            self._log_loss(self.failure, exc)

    def lose(self, reason: str) -> None:
        """Its process ends. If nobody else has its message any more, it is kept."""
        if self.acknowledged and not self.task.acks_late and self in active_requests and self.failure is None:
            self.failure = self._failure(reason)
            self._keep_what_was_acknowledged_before()

    def _log_loss(self, failure: Failure, exc: RedisError) -> None:
        log.error("dead_letter_not_kept", task=self.name, task_id=self.id, cause=failure.reason, reason=str(exc))

    def _failure(self, reason: str, traceback: str = "") -> Failure:
        return Failure(reason, traceback, str(self.hostname))

    def _failure_of(self, exc_info: Any) -> Failure | None:
        exc = _raised(exc_info)
        if isinstance(exc, Terminated | Ignore | Retry) or (isinstance(exc, Reject) and exc.requeue):
            return None
        if self._already_revoked or self._already_cancelled:
            return None
        if isinstance(exc, TimeLimitExceeded):
            return self._failure(_of_time_limit(*exc.args[:1]))
        if isinstance(exc, WorkerLostError | SystemExit | KeyboardInterrupt):
            return self._failure(f"its process was lost: {_said(exc)}")
        return self._failure(_of_exception(exc), str(exc_info.traceback or ""))

    # --- What Celery acknowledges on the way, and has not failed for good

    def _success_was_stored(self) -> Any:
        stored = super()._success_was_stored()
        if stored:
            self.failure = None
        return stored

    def _retry_worker_lost(self, exc: BaseException, exc_info: Any) -> Any:
        failure, self.failure = self.failure, None
        retried = super()._retry_worker_lost(exc, exc_info)
        if not retried:
            self.failure = failure
        return retried


def _raised(exc_info: Any) -> BaseException:
    exc: BaseException = exc_info.exception
    return exc.exc if isinstance(exc, ExceptionWithTraceback) else exc


def _of_time_limit(seconds: object = None) -> str:
    return f"it ran beyond its hard time limit of {seconds} s"


def _of_exception(exc: BaseException) -> str:
    if isinstance(exc, Reject):
        return "rejected" if exc.reason is None else f"rejected: {_said(exc.reason)}"
    if isinstance(exc, UnpickleableExceptionWrapper):  # it has come from a child as its name and its text
        return str(exc.text)
    return f"{type(exc).__name__}: {_said(exc)}"


def _said(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  somebody's own exception
        return safe_repr(value)


def _is_cancelled(workflow_id: str) -> bool:
    from switchyard.workflows import cancelling  # noqa: PLC0415  Celery's app is not there yet when this is imported

    return cancelling.is_cancelled(workflow_id)
