"""A task's run in, the same run with its ids on every log line out; and nothing that it binds is left for the next one.

Celery's signals would do (hooks.py), and do where no worker runs the task; but a signal costs more than what is done on it. So a
worker wraps what Celery has built to run each task. What runs eagerly inside a task logs as that task does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.app.trace import trace_ok_t
from celery.exceptions import WorkerLostError, WorkerShutdown, WorkerTerminate
from structlog.contextvars import bind_contextvars

from switchyard import hooks

Trace = Callable[..., Any]


def bind_ids(app: Any, *, child: bool = False) -> None:
    """Wrap the runs of all tasks of which Celery has built one; the signals are no longer listened to then. What a run raises in a `child`
    of prefork is heard of by the process that has made it; in other pools by nobody else.
    """
    run = _run if child else _told
    traced = [task for task in app.tasks.values() if task.__trace__ is not None]
    for task in traced:
        task.__trace__ = _bound(task.__trace__, task.name, run)
    if traced:
        hooks.leave_ids_alone()


def _bound(trace: Trace, name: str, run: Callable[..., Any]) -> Trace:
    def bound(uuid: str, args: Any, kwargs: Any, request: Any) -> Any:
        ids = request.get(hooks.HEADER) or {}
        bind_contextvars(task_id=uuid, task=name, **ids)
        done = run(trace, uuid, args, kwargs, request)
        if ids and not done.info:
            hooks.end_workflow_of_start_without_fan_out(uuid, ids, done.retval)
        return done

    def in_context(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        return copy_context().run(bound, uuid, args, kwargs, request or {})

    return in_context


def _run(trace: Trace, *arguments: Any) -> Any:
    return trace(*arguments)


def _told(trace: Trace, *arguments: Any) -> Any:
    """What else a run raises than its task's failure: its slot and its message would be kept for ever."""
    try:
        return trace(*arguments)
    except (WorkerShutdown, WorkerTerminate):
        raise
    except Exception as exc:  # noqa: BLE001  that of a result backend, say
        return _failed(exc, exc.__traceback__)
    except (SystemExit, KeyboardInterrupt) as exc:  # as in prefork, whose process is gone then
        return _failed(WorkerLostError(repr(exc)), exc.__traceback__)


def _failed(exc: BaseException, traceback: Any) -> Any:
    is_failure: Any = True
    info: Any = ExceptionInfo((type(exc), exc, traceback))
    info.is_untold = True  # request.py
    return trace_ok_t(info, is_failure, 0.0, None)
