"""Starts workflows: `start` by one small message from anywhere, `fan_out` inside the task that message runs."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import redis
from celery import Celery, current_task
from celery.app.task import Task
from kombu.exceptions import OperationalError
from kombu.utils.json import dumps
from structlog.contextvars import bind_contextvars, bound_contextvars

from switchyard.errors import WorkflowError
from switchyard.logs import get_logger
from switchyard.routing import current_queues, queue_of
from switchyard.settings import settings
from switchyard.workflows import publishing, record, sizing
from switchyard.workflows.record import patiently

#: What workers of an older version run of a chunk at once: they cannot choose.
_FORMERLY = 16

log = get_logger(__name__)


def start(app: Celery, task: str, /, **kwargs: Any) -> str:
    """Start the workflow that `task` fans out, by publishing that task by name; returns the workflow's id.

    The record exists before the message does, so the id can be asked about at once. Raises WorkflowError when the
    broker takes no message; nothing is left behind then.
    """
    workflow_id = str(uuid.uuid4())
    try:
        _record_start(workflow_id, task, kwargs)
    except redis.RedisError as exc:
        raise WorkflowError(f"Redis takes no record ({exc}); nothing was started. Is it up? `make ps`") from exc
    try:
        with bound_contextvars(
            workflow_id=workflow_id
        ):  # a task that carries its own id is a workflow's start: hooks.py
            # Its result is in the workflow's record: nobody subscribes to it, and a starter need not be let to.
            app.send_task(task, kwargs=kwargs, task_id=workflow_id, retry=False, ignore_result=True)
    except (redis.RedisError, OperationalError) as exc:
        raise WorkflowError(f"The broker takes no message ({exc}); {_taken_back(workflow_id)} `make ps`") from exc
    return workflow_id


def _record_start(workflow_id: str, task: str, kwargs: dict[str, Any]) -> None:
    client, key = record.client(), record.meta_key(workflow_id)
    now = client.time()[0]
    fields: Any = {
        "state": "waiting",
        "name": task,
        "attempt": 1,
        "created": now,
        "updated": now,
        "arguments": dumps(kwargs),
    }
    pipe = client.pipeline()
    pipe.hset(key, mapping=fields)
    pipe.expire(key, settings().workflow_expires)
    pipe.zadd(record.OPEN, {workflow_id: now})
    pipe.zadd(record.INDEX, {workflow_id: now})
    pipe.execute()


def _taken_back(workflow_id: str) -> str:
    """Forget a workflow whose message was not taken, and say whether that worked: else the sweep may start it yet."""
    try:
        record.client().delete(record.meta_key(workflow_id))
        record.client().zrem(record.INDEX, workflow_id)
    except redis.RedisError:
        return (
            f"whether {workflow_id} was started is not known: `make workflow W={workflow_id}` tells when Redis is back."
        )
    return "nothing was started. Is it up?"


def fan_out(
    each: Task[Any, Any] | str, items: Iterable[Any], *, callback: Task[Any, Any] | str,
    chunk_size: int | None = None, concurrency: int | None = None, stream: bool = False, workflow_id: str | None = None,
) -> str:  # fmt: skip
    """Run `each(item)` for every item, then `callback(results)` with one result per item, in order; returns the id.

    Call it inside a task: that task's id becomes the workflow's, so a task that is delivered twice starts one workflow.
    Items go out in chunks, stored in the record; of a chunk, items run at once on gevent and threads. How many are in a chunk, and
    how many run at once, is chosen (`sizing`, `pace`) unless `chunk_size` or `concurrency` say so. An item that raises, exceeds its
    queue's `time_limit` or returns what JSON cannot carry counts as `{"status": false, "message": <why>}`; the callback runs all the
    same. It is given a list; with `stream`, for more results than fit into memory, a sequence that reads them page by page
    (`Results`). Raises WorkflowError outside a task.
    """
    for name, number in (("chunk_size", chunk_size), ("concurrency", concurrency)):
        if number is not None and number < 1:
            raise WorkflowError(f"fan_out: {name}: expected at least 1, got {number!r}; no item would ever run.")
    workflow_id = workflow_id or _current_task_id()
    bind_contextvars(workflow_id=workflow_id)
    names = {"each": _name(each), "callback": _name(callback)}
    starter = str(uuid.uuid4())
    origin = _origin(workflow_id, names["each"])
    fields = {
        **names, **origin, "chunk_size": chunk_size or "", "concurrency": concurrency or _FORMERLY,
        "chosen": "" if concurrency else 1, "stream": 1 if stream else "",
    }  # fmt: skip
    args = [workflow_id, starter, settings().workflow_expires, *itertools.chain(*fields.items())]
    state, was_each, was_callback = patiently(
        lambda: record.run_script("open", [record.meta_key(workflow_id), record.OPEN, record.INDEX], args)
    )
    if (was_each, was_callback) not in (("", ""), tuple(names.values())):
        raise WorkflowError(
            f"Workflow {workflow_id} runs {was_each!r} already; a task that fans out twice gives each its own workflow_id."
        )
    if state in ("", "waiting", "starting"):
        if not chunk_size:
            chunk_size, items = _chosen(names["each"], items)
        _store(workflow_id, starter, items, chunk_size)
    meta = patiently(lambda: record.read(workflow_id))
    if meta.state == "running":
        publishing.start(meta)
    return workflow_id


def _chosen(each: str, items: Iterable[Any]) -> tuple[int, Iterable[Any]]:
    """The size of chunks, and the items: of those that cannot be counted, the first ones have been taken to see how many there are."""
    if isinstance(items, Sized):
        count = len(items)
    else:
        items = iter(items)
        first = list(itertools.islice(items, sizing.LOOK_AHEAD))
        count, items = len(first), itertools.chain(first, items)
    queue, seconds = current_queues()[queue_of(each)], patiently(lambda: sizing.item_seconds(each))
    return sizing.chunk_size(count, queue, seconds), items


def _origin(workflow_id: str, each: str) -> dict[str, str]:
    """The task that fans out, and the arguments with which it can be started again; positional ones are not kept.

    Nor those of a task that chose the workflow's id: under that id, it would choose another one.
    """
    if not current_task:
        return {"name": each}
    request = current_task.request
    again = request.id == workflow_id and not request.args and not request.called_directly
    return {"name": current_task.name, **({"arguments": dumps(request.kwargs or {})} if again else {})}


def _current_task_id() -> str:
    if not current_task or current_task.request.called_directly:
        raise WorkflowError(
            "fan_out was called outside a task, where its messages would be published inside a request. "
            "Put it in a task and start that by name: switchyard.workflows.start(app, 'task_name')."
        )
    return str(current_task.request.id)


def _name(task: Task[Any, Any] | str) -> str:
    return task if isinstance(task, str) else str(task.name)


def _store(workflow_id: str, starter: str, items: Iterable[Any], chunk_size: int) -> None:
    """Store the items chunk by chunk; nothing runs until all are there, so that a lost starter can begin again.

    Stops quietly when the task was delivered again meanwhile, for the newest starter goes on, or the workflow was cancelled.
    """
    keys = [record.meta_key(workflow_id), record.items_key(workflow_id), record.OPEN]

    def put(total: int | str, chunks: int | str, *stored: Any) -> bool:
        args = [workflow_id, starter, settings().workflow_expires, chunk_size, total, chunks, *stored]
        return bool(patiently(lambda: record.run_script("items", keys, args)))

    total = chunks = 0
    for page in _batched(
        enumerate(_batched(items, chunk_size)), max(1, min(record.PAGE, record.PAGE_ITEMS // chunk_size))
    ):
        stored = itertools.chain(*((number, dumps(chunk)) for number, chunk in page))
        total, chunks = total + sum(len(chunk) for _, chunk in page), chunks + len(page)
        if not put("", "", *stored):
            log.info("workflow_taken_over_or_cancelled")
            return
    if put(total, chunks):
        log.info("workflow_started", total=total, chunks=chunks)


def _batched(iterable: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(iterable)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
