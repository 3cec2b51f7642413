"""A task's messages in, requests on their way to the pool out: Celery's strategy, with a shorter way for what most messages are.

`celery.app.task.Task.Strategy` is this one in our workers (hooks.py). The shorter way does what Celery's does for a message without
a delay, an end, stamps, a rate limit or events, and leaves out what it then repeats for each: it reads a body once instead of twice
where the pool runs in this process, and remembers no task that has succeeded, which only `worker_deduplicate_successful_tasks` asks
about. Whatever else a message has goes Celery's own way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from celery import signals
from celery.app import trace
from celery.app.task import Context
from celery.utils.log import get_logger
from celery.worker import request, state, strategy

from switchyard.broker import reading
from switchyard.worker.request import Request

#: Pools that run tasks in the worker's own process.
_IN_PROCESS = ("celery.concurrency.solo", "celery.concurrency.thread", "celery.concurrency.gevent", "celery.concurrency.eventlet")  # fmt: skip
#: Headers that have a place of their own in a task's request; the others are its `headers`. Celery makes this set for each task.
_PLACED = {*vars(Context), "lang", "task", "argsrepr", "kwargsrepr", "compression"}

#: Celery's own: whoever reads its log finds each line where it was.
_log = get_logger("celery.worker.strategy")


def handler(task: Any, app: Any, consumer: Any) -> Callable[..., Any]:
    """What takes the messages of one task."""
    celerys: Callable[..., Any] = strategy.default(task, app, consumer)
    if task.Request != "switchyard.worker.request:Request" or app.conf.worker_deduplicate_successful_tasks:
        return celerys
    dispatcher = consumer.event_dispatcher if task.send_events else None
    make = _request_class(task, app, consumer)
    in_process = runs_here(consumer.pool)
    options = {
        "app": app, "hostname": consumer.hostname, "eventer": consumer.event_dispatcher, "task": task,
        "connection_errors": consumer.connection_errors,
        "utc": app.uses_utc_timezone(), "decoded": in_process,
    }  # fmt: skip
    says_so = _log.isEnabledFor(logging.INFO)

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> Any:
        headers = message.headers
        if body is not None or not _is_plain(headers) or consumer.task_buckets[task.name] or _tells(dispatcher):
            return celerys(message, body, ack, reject, callbacks)
        payload = reading.body(message)
        if not isinstance(payload, list) or headers.get("id") in state.revoked:
            return celerys(message, body, ack, reject, callbacks)
        asked = make(
            message,
            on_ack=ack,
            on_reject=reject,
            headers=headers,
            body=payload if in_process else message.body,
            **options,
        )
        if says_so:
            told = {"id": asked.id, "name": asked.name, "args": asked.argsrepr, "kwargs": asked.kwargsrepr, "eta": None}  # fmt: skip
            _log.info(trace.LOG_RECEIVED, told, extra={"data": told})
        signals.task_received.send(sender=consumer, request=asked)
        state.task_reserved(asked)
        for callback in callbacks or ():
            callback(asked)
        return consumer.on_task_request(asked)

    return handle


def runs_here(pool: Any) -> bool:
    """Whether this pool runs tasks in the worker's own process."""
    return type(pool).__module__ in _IN_PROCESS


def _tells(dispatcher: Any) -> bool:
    """Whether monitors hear of tasks: as Celery's dispatcher decides, which is there for a worker's heartbeats, too. A monitor may ask
    for it at any time.
    """
    return bool(dispatcher and dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups))


def _is_plain(headers: Mapping[str, Any]) -> bool:
    get = headers.get
    return not (get("eta") or get("expires") or get("stamped_headers") or get("compression"))


def _request_class(task: Any, app: Any, consumer: Any) -> type[Request]:
    create: Callable[..., Any] = request.create_request_cls  # type: ignore[attr-defined]  # its stubs lack it
    celerys: Any = create(Request, task, consumer.pool, consumer.hostname, consumer.event_dispatcher, app=app)
    acks_late = task.acks_late

    class Plain(celerys):  # type: ignore[misc]
        """A request of a plain message."""

        def __init__(self, message: Any, **options: Any) -> None:
            super().__init__(message, **options)
            further = {key: value for key, value in message.headers.items() if key not in _PLACED}
            self._request_dict.setdefault("headers", further)

        def revoked(self) -> bool:
            if self._already_revoked or self.id in state.revoked or self._starts_workflow():
                return bool(super().revoked())
            return False

        def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
            if failed__retval__runtime[0] or (task.send_events and _tells(self._eventer)):  # somebody has asked since
                return super().on_success(failed__retval__runtime, **kwargs)
            state.task_ready(self)
            if acks_late:
                self.acknowledge()
            return None

    return Plain
