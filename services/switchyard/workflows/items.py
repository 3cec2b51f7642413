"""An item in, an outcome out, whatever it does: raises, hangs, exits, or returns what JSON cannot carry; and one after another."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from billiard.common import terminate_handler_fired  # type: ignore[attr-defined]
from celery._state import _task_stack  # type: ignore[attr-defined]
from celery.app.task import Task
from celery.exceptions import WorkerShutdown, WorkerTerminate
from kombu.utils.compat import detect_environment
from kombu.utils.json import dumps

from switchyard.errors import SwitchyardError
from switchyard.logs import get_logger
from switchyard.worker import stopping

#: A larger result would stall Redis for everyone; 512 MB it refuses outright.
MAX_RESULT_BYTES = 16 * 1024**2
#: Characters of an exception's text that are kept.
LONGEST_ERROR = 2000

log = get_logger(__name__)


class ItemTimeLimit(BaseException):
    """Raised inside an item when its time limit is over."""


@dataclass(slots=True)
class Outcome:
    """What became of one item. `error` is empty if it returned; `result` is the JSON that is recorded either way."""

    index: int
    result: str
    ok: bool
    error: str = ""
    #: What it took.
    seconds: float = 0.0


def failure(index: int, error: str) -> Outcome:
    """The false result that stands for an item that gave none of its own."""
    return Outcome(index, dumps({"status": False, "message": error}), ok=False, error=error)


def exceeded(index: int, limit: float) -> Outcome:
    """The false result of an item that took longer than `limit` seconds."""
    return failure(index, f"exceeded its time limit of {limit:g} s")


def _said(exc: BaseException) -> str:
    """An exception in words; its text may be endless, or raise."""
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001  a fork's own exception may do anything while it is read
        text = "(it has no readable text)"
    return text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]}…"


def _ends_the_worker(exc: BaseException) -> bool:
    """Whether this is not the item's own doing: a killed greenlet has gevent's GreenletExit, which only gevent has.

    A prefork child that a stop ends has a SystemExit, as an item that exits has, or one that the pool ends at its hard limit.
    """
    ends = (WorkerShutdown, WorkerTerminate, KeyboardInterrupt, GeneratorExit)
    told = isinstance(exc, SystemExit) and stopping.is_set() and terminate_handler_fired()
    return told or isinstance(exc, ends) or type(exc).__name__ == "GreenletExit"


@contextmanager
def entered(function: Callable[[Any], Any]) -> Iterator[Callable[[Any], Any]]:
    """What to call for each of many items: of a task its own function, which is told once, and not for each of them, that it runs as that
    task. Celery does so at every call, which costs as much as a small item. What a task's class does at a call of its own is done.
    """
    if not isinstance(function, Task) or type(function).__call__ is not Task.__call__:
        yield function
        return
    _task_stack.push(function)
    function.push_request()
    try:
        yield function.run
    finally:
        function.pop_request()
        _task_stack.pop()


def call(function: Callable[[Any], Any], index: int, item: Any, limit: float) -> Outcome:
    """`function(item)` within `limit` seconds. Raises nothing but what stops the worker."""
    began = time.monotonic()
    outcome = _called(function, index, item, limit, began)
    outcome.seconds = time.monotonic() - began
    return outcome


def _called(function: Callable[[Any], Any], index: int, item: Any, limit: float, began: float) -> Outcome:
    try:
        with interrupted_after(limit):
            value = function(item)
    except ItemTimeLimit:
        return exceeded(index, limit)
    except (
        BaseException
    ) as exc:  # an item may raise anything, gevent.Timeout and CancelledError too, and has exactly one result
        if _ends_the_worker(exc):
            raise
        log.warning("item_raised", index=index, item=repr(item)[:200], exc_info=exc)
        if time.monotonic() - began >= limit:
            # The interruption, as a library or the pool's own last warning has put it: DuckDB says RuntimeError, for one.
            return exceeded(index, limit)
        if isinstance(exc, SwitchyardError):
            return failure(index, _said(exc))  # a sentence that was written to be read
        return failure(index, f"{type(exc).__name__}: {_said(exc)}")
    return _outcome(index, value)


def _outcome(index: int, value: Any) -> Outcome:
    try:
        text = dumps(value)
    except Exception as exc:  # noqa: BLE001  an object may raise anything while it is serialised
        return failure(index, f"returned what JSON cannot carry: {_said(exc)}")
    if len(text) > MAX_RESULT_BYTES:
        return failure(index, f"returned {len(text)} bytes of JSON; expected at most {MAX_RESULT_BYTES}")
    return Outcome(index, text, ok=not (isinstance(value, dict) and value.get("status") is False))


def interrupted_after(limit: float) -> AbstractContextManager[Any]:
    """Raise ItemTimeLimit inside the block after `limit` seconds, by what this pool has: a green timeout, or an alarm
    where the main thread runs the task (prefork, solo). A thread of the threads pool cannot be interrupted.
    """
    environment = detect_environment()
    if environment == "gevent":
        import gevent  # noqa: PLC0415  only where it is what runs the tasks

        return gevent.Timeout(limit, ItemTimeLimit)  # type: ignore[no-any-return]
    if environment == "eventlet":
        import eventlet  # noqa: PLC0415  only where it is installed

        return eventlet.Timeout(limit, ItemTimeLimit)  # type: ignore[no-any-return]
    return _alarm(limit) if threading.current_thread() is threading.main_thread() else nullcontext()


@contextmanager
def _alarm(limit: float) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise ItemTimeLimit

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _never() -> bool:
    return False


def one_by_one(
    function: Callable[[Any], Any], todo: Iterable[tuple[int, Any]], limit: float, ended: Callable[[], bool] = _never
) -> Iterator[Outcome]:
    """Outcomes in order. Starts no item once the worker is stopping, one `limit` is over, or `ended()` says so."""
    over = time.monotonic() + limit
    for index, item in todo:
        if stopping.is_set() or ended() or time.monotonic() > over:
            return
        yield call(function, index, item, limit)
