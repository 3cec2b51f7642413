"""Accepted workflows and opened attempts in, each by its place in the outbox; the messages that start them out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from kombu.utils.json import loads

from switchyard.hooks import HEADER
from switchyard.logs import get_logger
from switchyard.producer import app
from switchyard.routing import current_queues, queue_of
from switchyard.workflows import record

#: Seconds for which to wait for the next.
WAIT_S = 1

_FIELDS = ("state", "name", "arguments", "event_id", "attempt")
#: States in which something is to be published: the task that fans out, or what the next attempt repeats.
_WAITING, _RUNNING = "waiting", "running"

#: Characters of a task's arguments that Flower shows.
_SHOWN = 1024

log = get_logger(__name__)


def wait() -> None:
    """Return when something may be in the outbox, at the latest after `WAIT_S`."""
    record.client().blpop([record.WAKE], timeout=WAIT_S)


def look() -> int:
    """Publish a page of what is in the outbox, oldest first; returns how many workflows it had.

    A workflow leaves the outbox after the broker has its message: who is killed in between sends it twice, under the same task
    id. Raises redis' and kombu's own errors while one of the two is away.
    """
    entries = cast(
        "list[tuple[str, float]]", record.client().zrange(record.OUTBOX, 0, record.PAGE - 1, withscores=True)
    )
    if not entries:
        return 0
    ids = [workflow_id for workflow_id, _ in entries]
    pipe = record.client().pipeline(transaction=False)
    for workflow_id in ids:
        pipe.hmget(record.meta_key(workflow_id), _FIELDS)
    found = [dict(zip(_FIELDS, values, strict=True)) for values in pipe.execute()]
    # Not those that somebody has started or cancelled meanwhile, or that are gone.
    _publish([(i, fields) for i, fields in zip(ids, found, strict=True) if fields["state"] in (_WAITING, _RUNNING)])
    # Not the entry of an attempt that was opened meanwhile.
    record.run_script("sent", [record.OUTBOX], [part for entry in entries for part in entry])
    return len(ids)


def _publish(workflows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Celery's own message, put together without `send_task`, which takes three times as long."""
    with app.producer_pool.acquire(block=True) as producer, producer.batch(record.PAGE):
        for workflow_id, fields in workflows:
            to = queue_of(fields["name"])
            message = _attempt(workflow_id, fields, to) if fields["state"] == _RUNNING else _start(workflow_id, fields)
            # With its own id a task is a workflow's start: hooks.py.
            ids = {"workflow_id": workflow_id, "event_id": fields["event_id"]}
            message.headers[HEADER] = {key: value for key, value in ids.items() if value}
            producer.publish(
                message.body, exchange="", routing_key=to, serializer="json", headers=message.headers,
                **message.properties,
            )  # fmt: skip
    if workflows:
        log.info("workflows_published", workflows=len(workflows))


def _start(workflow_id: str, fields: Mapping[str, str]) -> Any:
    """The task that fans out. Its result is in the workflow's record."""
    # The arguments are JSON already: monitors need no other text of them.
    return app.amqp.as_task_v2(
        workflow_id, fields["name"], kwargs=loads(fields["arguments"]), ignore_result=True,
        argsrepr="()", kwargsrepr=fields["arguments"][:_SHOWN],
    )  # fmt: skip


def _attempt(workflow_id: str, fields: Mapping[str, str], to: str) -> Any:
    """The task that publishes what an attempt repeats, as `publishing.start` sends it for the first."""
    return app.amqp.as_task_v2(
        str(uuid.uuid4()), "switchyard.publish_chunks", args=(workflow_id, int(fields["attempt"])), ignore_result=True,
        time_limit=current_queues()[to].chunk_time_limit,  # type: ignore[arg-type]
    )  # fmt: skip
