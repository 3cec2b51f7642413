"""Ends a workflow from outside: a mark in its record, at which everybody looks who has something of it to do.

The mark is the workflow's state. So it reaches workers that start later, and no message needs to be found and removed.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError  # noqa: A004  redis' own name
from redis.retry import Retry

from switchyard.errors import UnknownWorkflow, WorkflowConflict
from switchyard.logs import get_logger
from switchyard.settings import settings
from switchyard.workflows import record

#: The state of a workflow that was cancelled.
CANCELLED = "cancelled"
#: States in which items or the callback of an attempt run.
UNDER_WAY = ("running", "joining")
#: Seconds that Redis may take to say whether a task is to run: its consumer waits for it.
HASTE_S = 1.0

log = get_logger(__name__)


def cancel(workflow_id: str, *, by: str) -> record.Meta:
    """End the workflow as cancelled; nothing of it starts any more. Returns its record, also of one that was cancelled before.

    `by` says who wants it, for whoever reads the record. Raises UnknownWorkflow, WorkflowConflict for one that has ended
    otherwise, or redis' errors.
    """
    meta = record.read(workflow_id)
    if not meta.ended:
        keys, args = call(workflow_id, reason(by, record.client().time()[0]))
        check(workflow_id, record.run_script("cancel", keys, args))
        meta = record.read(workflow_id)
    check(workflow_id, meta.state)
    return meta


def reason(by: str, now_s: float) -> str:
    """What the record says of it: who, and when by Redis' clock."""
    return f"cancelled by {by} at {datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def call(workflow_id: str, why: str) -> tuple[list[str], list[Any]]:
    """Keys and arguments of lua/cancel.lua."""
    keys = [record.meta_key(workflow_id), record.OPEN, record.OUTBOX]
    return keys, [workflow_id, why, settings().workflow_expires]


def check(workflow_id: str, state: str) -> None:
    """Raise UnknownWorkflow or WorkflowConflict if a workflow that was found in this state is not cancelled now."""
    if not state:
        raise UnknownWorkflow(f"No workflow has the id {workflow_id!r}; it may have expired.")
    if state in record.ENDED and state != CANCELLED:
        raise WorkflowConflict(f"Workflow {workflow_id} has ended already, as {state}; there is nothing to cancel.")


def goes_on(workflow_id: str, attempt: int) -> bool:
    """Whether this attempt still has items or a callback to run. Raises redis' errors."""
    state, current = record.client().hmget(record.meta_key(workflow_id), "state", "attempt")
    return state in UNDER_WAY and current == str(attempt)


def is_cancelled(workflow_id: str) -> bool:
    """Whether the task that starts this workflow is not to run. False while Redis is away: `fan_out` asks again."""
    try:
        return _hasty(os.getpid()).hget(record.meta_key(workflow_id), "state") == CANCELLED
    except redis.RedisError as exc:
        log.warning("cancelled_or_not_unknown", workflow_id=workflow_id, reason=str(exc))
        return False


@cache
def _hasty(pid: int) -> redis.Redis:
    del pid
    # Asked again only over a connection that Redis has closed meanwhile; what is slow is not waited for twice.
    return redis.Redis.from_url(
        settings().result_backend_url(), decode_responses=True, socket_timeout=HASTE_S, socket_connect_timeout=HASTE_S,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
    )  # fmt: skip
