"""Requests that change what becomes of a workflow in: cancel it, or open its next attempt; its record out, as JSON."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response

from switchyard.logs import get_logger
from switchyard.producer.http.workflows import Id, read, shown
from switchyard.workflows import attempts, cancelling, record

log = get_logger(__name__)


async def cancel_workflow(request: Request, workflow_id: Id) -> Response:
    """End a workflow: nothing of it starts any more, items that run end, and it has no result.

    One that was cancelled before is answered as it is.
    """
    records: Redis = request.app.state.door.records
    meta = await read(records, workflow_id)
    if not meta.ended:
        # Who by its name, which is a line's in the tokens file and no secret.
        why = cancelling.reason(request.state.caller, (await records.time())[0])
        cancelling.check(workflow_id, await _run(records, "cancel", *cancelling.call(workflow_id, why)))
        log.info("workflow_cancelled", workflow_id=workflow_id, state=meta.state)
        meta = await read(records, workflow_id)
    cancelling.check(workflow_id, meta.state)
    return shown(meta)


async def open_attempt(request: Request, workflow_id: Id) -> Response:
    """Run what of a workflow has failed once more, and then its callback with all results. Its id stays."""
    records: Redis = request.app.state.door.records
    keys, args = attempts.call(await read(records, workflow_id))
    outcome = await _run(records, "attempt", keys, args)
    meta = await read(records, workflow_id)
    attempts.check(outcome, meta)
    log.info("attempt_opened", workflow_id=workflow_id, attempt=meta.attempt)
    return shown(meta, 201, Location=f"/v1/workflows/{workflow_id}")


async def _run(records: Redis, name: str, keys: list[str], args: list[Any]) -> str:
    return str(await records.register_script(record.script_source(name))(keys=keys, args=args))
