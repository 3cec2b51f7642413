"""A workflow that has ended in; its next attempt out, which runs what has failed, and the callback with all results."""

from __future__ import annotations

from typing import Any

from switchyard.errors import WorkflowConflict
from switchyard.settings import settings
from switchyard.workflows import cancelling, record

#: Who publishes the task that is to fan out again: the starter, from the record, or who asks.
_BY_STARTER, _BY_CALLER = 1, 2


def replay(workflow_id: str) -> record.Meta:
    """Open the workflow's next attempt, and return its record. Its id stays.

    Runs the items that have failed, and then the callback; only the callback if no item has failed. What failed before it
    fanned out is started again. Raises UnknownWorkflow, WorkflowConflict with the reason why it cannot be, or redis' errors.
    """
    meta = record.read(workflow_id)
    keys, args = call(meta)
    outcome = record.run_script("attempt", keys, args)
    found = record.read(workflow_id)
    check(outcome, found)
    return found


def reopen(workflow_id: str) -> None:
    """Open the next attempt of a workflow that failed before it fanned out, for the message of its task, which is about to be put back.
    Nothing is done to one that has got further, or has not ended. Raises UnknownWorkflow, WorkflowConflict for one that was
    cancelled or is replayed by somebody else just now, or redis' errors.
    """
    meta = record.read(workflow_id)
    if meta.state == cancelling.CANCELLED:
        raise WorkflowConflict(_refusal(meta))
    if meta.ended and not meta.fanned_out:
        keys, args = _call(meta, start=_BY_CALLER)
        check(record.run_script("attempt", keys, args), record.read(workflow_id))


def call(meta: record.Meta) -> tuple[list[str], list[Any]]:
    """Keys and arguments of lua/attempt.lua. Raises WorkflowConflict for a workflow that has no next attempt."""
    if why := _refusal(meta):
        raise WorkflowConflict(why)
    return _call(meta, start=0 if meta.fanned_out else _BY_STARTER)


def _call(meta: record.Meta, *, start: int) -> tuple[list[str], list[Any]]:
    beside = [f(meta.id) for f in (record.items_key, record.failed_key, record.deliveries_key)]
    keys = [record.meta_key(meta.id), *beside, record.OPEN, record.OUTBOX, record.WAKE]
    return keys, [meta.id, meta.state, meta.attempt, settings().workflow_expires, start]


def check(outcome: str, found: record.Meta) -> None:
    """Raise WorkflowConflict unless the script has opened the attempt; `found` is the record as it was read afterwards."""
    if outcome == "expired":
        raise WorkflowConflict(f"A part of the items or results of workflow {found.id} has expired; start it anew.")
    if outcome != "opened":
        raise WorkflowConflict(_refusal(found) or f"Workflow {found.id} was replayed meanwhile; see how it stands.")


def _refusal(meta: record.Meta) -> str:
    """Why this workflow has no next attempt; empty if it may have one."""
    if not meta.ended:
        return f"Attempt {meta.attempt} of workflow {meta.id} is under way: {meta.state}."
    if meta.state == cancelling.CANCELLED:
        return f"Workflow {meta.id} was {meta.reason}; what somebody has stopped is not replayed. Start it anew."
    if not meta.fanned_out:
        return _refusal_to_start(meta)
    if meta.state == "done" and not meta.failed and not _says_false(meta.result):
        return f"Workflow {meta.id} is done, and nothing of it has failed; there is nothing to replay."
    return ""


def _refusal_to_start(meta: record.Meta) -> str:
    if meta.state == "done":
        return f"Workflow {meta.id} is done, and its task has fanned nothing out; there is nothing to replay."
    if meta.reason == record.REVOKED:
        return f"The task of workflow {meta.id} was revoked, and workers would drop it again. Start it anew."
    if meta.arguments is None:
        return f"Workflow {meta.id} failed before it fanned out, and the arguments of its task are not known. Start it anew."
    return ""


def _says_false(result: Any) -> bool:
    return isinstance(result, dict) and result.get("status") is False
