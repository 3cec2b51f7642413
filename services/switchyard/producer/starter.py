"""Accepted workflows in, each by its place in the outbox; the messages that start them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from kombu.utils.json import loads

from switchyard.hooks import HEADER
from switchyard.logs import get_logger
from switchyard.producer import app
from switchyard.routing import queue_of
from switchyard.workflows import record

#: Seconds for which to wait for the next.
WAIT_S = 1

_FIELDS = ("state", "name", "arguments", "event_id")

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
    ids = cast("list[str]", record.client().zrange(record.OUTBOX, 0, record.PAGE - 1))
    if not ids:
        return 0
    pipe = record.client().pipeline(transaction=False)
    for workflow_id in ids:
        pipe.hmget(record.meta_key(workflow_id), _FIELDS)
    found = [dict(zip(_FIELDS, values, strict=True)) for values in pipe.execute()]
    # Not those that somebody has started meanwhile, such as the sweep, or that are gone.
    _publish([(id_, fields) for id_, fields in zip(ids, found, strict=True) if fields["state"] == "waiting"])
    record.client().zrem(record.OUTBOX, *ids)
    return len(ids)


def _publish(workflows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Celery's own message, put together without `send_task`, which takes three times as long."""
    with app.producer_pool.acquire(block=True) as producer, producer.batch(record.PAGE):
        for workflow_id, fields in workflows:
            # Its result is in the workflow's record. The arguments are JSON already: monitors need no other text of them.
            message = app.amqp.as_task_v2(
                workflow_id, fields["name"], kwargs=loads(fields["arguments"]), ignore_result=True,
                argsrepr="()", kwargsrepr=fields["arguments"][:_SHOWN],
            )  # fmt: skip
            # With its own id a task is a workflow's start: hooks.py.
            message.headers[HEADER] = {"workflow_id": workflow_id, "event_id": fields["event_id"]}
            producer.publish(
                message.body, exchange="", routing_key=queue_of(fields["name"]), serializer="json",
                headers=message.headers, **message.properties,
            )  # fmt: skip
    if workflows:
        log.info("workflows_published", workflows=len(workflows))
