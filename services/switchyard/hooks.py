"""Cross-cutting work on Celery's signals: log lines, the ids on them, readiness, the stop mark. Task code knows none of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from celery import current_app, signals
from celery.app.task import Task
from celery.states import SUCCESS
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from switchyard import logs
from switchyard.errors import SwitchyardError
from switchyard.routing import current_queues
from switchyard.settings import settings
from switchyard.worker import memory, stopping

#: What the corridor carries from message to message, in this header.
CORRIDOR = ("event_id", "workflow_id", "attempt")
HEADER = "switchyard"
#: When a message was published, in a header of its own: seconds since 1970, by the publisher's clock.
PUBLISHED = "switchyard_published"


def connect() -> None:
    """Connect every hook; doing it again changes nothing."""
    signals.setup_logging.connect(_set_up_logging)
    signals.before_task_publish.connect(_send_along)
    signals.task_prerun.connect(_bind_ids)
    signals.task_postrun.connect(_unbind_ids)
    signals.task_failure.connect(_end_workflow_of_failed_start)
    signals.task_revoked.connect(_end_workflow_of_revoked_start)
    signals.task_unknown.connect(_end_workflow_of_unknown_start)
    signals.worker_init.connect(_begin)
    signals.worker_process_init.connect(_prepare_child)
    signals.worker_ready.connect(_watch_memory)
    signals.worker_ready.connect(_tell_health_of_worker)
    signals.worker_ready.connect(_keep_dead_letters_within_their_bounds)
    signals.worker_ready.connect(_hand_back_at_the_end_of_a_stop)
    signals.worker_shutting_down.connect(_stop)
    signals.worker_shutdown.connect(_end_worker)


def _set_up_logging(loglevel: int | str = "INFO", **_: Any) -> None:
    config = settings()
    logs.configure(config.log_format, _level_name(loglevel), **({"queue": config.queue} if config.queue else {}))


def _level_name(loglevel: int | str) -> str:
    import logging  # noqa: PLC0415  beside its one use

    return loglevel if isinstance(loglevel, str) else logging.getLevelName(loglevel)


def _send_along(headers: dict[str, Any] | None = None, **_: Any) -> None:
    ids = {key: value for key, value in get_contextvars().items() if key in CORRIDOR}
    if headers is not None:
        headers.setdefault(PUBLISHED, round(time.time(), 3))
        if ids:
            headers.setdefault(HEADER, ids)


def _bind_ids(task_id: str, task: Any, **_: Any) -> None:
    # Kept for afterwards: an eager task runs inside its caller, whose ids are not its to lose.
    task.request.ids_before = get_contextvars()
    bind_contextvars(task_id=task_id, task=task.name, **(getattr(task.request, HEADER, None) or {}))


def _unbind_ids(task: Any, state: str = "", retval: Any = None, **_: Any) -> None:
    if state == SUCCESS:
        end_workflow_of_start_without_fan_out(task.request.id, getattr(task.request, HEADER, None) or {}, retval)
    # Cleared first: a task may have bound more, and the next one in this process must not inherit it.
    clear_contextvars()
    bind_contextvars(**(getattr(task.request, "ids_before", None) or {}))


def leave_ids_alone() -> None:
    """Somebody else binds them (worker/tracing.py)."""
    signals.task_prerun.disconnect(_bind_ids)
    signals.task_postrun.disconnect(_unbind_ids)


def end_workflow_of_start_without_fan_out(task_id: str, ids: Mapping[str, Any], result: Any) -> None:
    """A task has returned `result`. Only one that `workflows.start` published carries its own id as the workflow's among its
    message's `ids`: any other costs nothing here.
    """
    if ids.get("workflow_id") == task_id:
        _end(task_id, "its task ended without fanning out", state="done", only=("waiting",), result=result)


def _end_workflow_of_failed_start(task_id: str, sender: Any = None, exception: Any = None, **_: Any) -> None:
    if isinstance(exception, SwitchyardError):  # a sentence that was written to be read
        _end(task_id, str(exception))
        return
    name = getattr(sender, "name", sender)
    _end(task_id, f"task {name!s} failed before it fanned out: {type(exception).__name__}: {exception}")


def _end_workflow_of_revoked_start(request: Any = None, **_: Any) -> None:
    from switchyard.workflows.record import REVOKED  # noqa: PLC0415  as below

    reason = request.get("given_up", "")
    _end(request.id, f"task {request.task} did not fan out: {reason}" if reason else REVOKED)


def _end_workflow_of_unknown_start(id: str | None = None, name: str = "", **_: Any) -> None:  # noqa: A002  Celery's name
    if id:
        _end(id, f"no worker knows the task {name!r}; see its queue's imports")


def _end(
    workflow_id: str,
    reason: str,
    *,
    state: str = "failed",
    only: tuple[str, ...] = ("waiting", "starting"),
    result: Any = None,
) -> None:
    from switchyard.workflows import record  # noqa: PLC0415  workflows are not loaded by a process that only publishes

    record.end_start(workflow_id, reason, state=state, only=only, result=result)


def _watch_memory(sender: Any, **_: Any) -> None:
    config = settings()
    if config.queue and (queue := current_queues()[config.queue]).pool == "prefork":
        from switchyard.worker import outgrown  # noqa: PLC0415  a process that only publishes has no use for it

        pool = memory.Pool(lambda: sender.pool.info["processes"], outgrown.busy, outgrown.tell)
        memory.watch(queue.memory, pool)


def _tell_health_of_worker(sender: Any, **_: Any) -> None:
    config = settings()
    if config.queue:  # a worker that somebody started by hand is none of the deployment's programs
        from switchyard.worker import health, limits  # noqa: PLC0415  a process that only publishes has no use for them

        queue = current_queues()[config.queue]
        health.tell(sender, queue, config.state_dir)
        limits.lapse(queue)


def _hand_back_at_the_end_of_a_stop(**_: Any) -> None:
    config = settings()
    # Asked now: a worker is also stopped because its queue is gone.
    if config.queue:
        from switchyard.worker import handing_back  # noqa: PLC0415  a process that only publishes has no use for it

        handing_back.prepare(current_queues()[config.queue])


def _keep_dead_letters_within_their_bounds(**_: Any) -> None:
    config = settings()
    if config.queue and config.broker_is_one_server():
        from switchyard.worker import trimming  # noqa: PLC0415  a process that only publishes has no use for it

        trimming.watch(config)


def _begin(**_: Any) -> None:
    stopping.begin()
    config = settings()
    if config.broker_is_one_server():  # nobody else's keeps dead letters
        # By name, as Celery has its own: a worker looks it up for each task, after this. A task's own request stays its own.
        Task.Request = "switchyard.worker.request:Request"
        Task.Strategy = "switchyard.worker.strategy:handler"
        from switchyard.worker import revoked  # noqa: PLC0415  a process that only publishes has no use for it

        revoked.remember()


def _prepare_child(**_: Any) -> None:
    from switchyard.worker import stacks, storing, tracing  # noqa: PLC0415  a process that only publishes has no use for them

    stacks.quicken(current_app)
    storing.wait_for_redis(current_app)
    tracing.bind_ids(current_app, child=True)  # solo's consumer binds them anew, as what it is


def _end_worker(**_: Any) -> None:
    stopping.end()


def _stop(**_: Any) -> None:
    stopping.mark()
