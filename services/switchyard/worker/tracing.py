"""A task's run in, the same run with its ids on every log line out; and nothing that it binds is left for the next one.

Celery's signals would do (hooks.py), and do where no worker runs the task; but a signal costs more than what is done on it. So a
worker wraps what Celery has built to run each task. What runs eagerly inside a task logs as that task does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from structlog.contextvars import bind_contextvars

from switchyard import hooks

Trace = Callable[..., Any]


def bind_ids(app: Any) -> None:
    """Wrap the runs of all tasks of which Celery has built one; the signals are no longer listened to then."""
    traced = [task for task in app.tasks.values() if task.__trace__ is not None]
    for task in traced:
        task.__trace__ = _bound(task.__trace__, task.name)
    if traced:
        hooks.leave_ids_alone()


def _bound(trace: Trace, name: str) -> Trace:
    def bound(uuid: str, args: Any, kwargs: Any, request: Any) -> Any:
        ids = request.get(hooks.HEADER) or {}
        bind_contextvars(task_id=uuid, task=name, **ids)
        done = trace(uuid, args, kwargs, request)
        if ids and not done.info:
            hooks.end_workflow_of_start_without_fan_out(uuid, ids, done.retval)
        return done

    def in_context(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        return copy_context().run(bound, uuid, args, kwargs, request or {})

    return in_context
