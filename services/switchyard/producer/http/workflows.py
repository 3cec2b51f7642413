"""Questions about workflows in; their records out, as JSON: a page of them, one, or one as it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, cast, get_args
from urllib.parse import urlencode

import redis
from fastapi import Path, Query
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from switchyard.errors import UnknownWorkflow
from switchyard.producer.http.door import Door
from switchyard.producer.http.problems import unavailable
from switchyard.workflows import record
from switchyard.workflows.record import Meta

State = Literal["waiting", "starting", "running", "joining", "done", "failed", "cancelled"]
STATES: tuple[str, ...] = get_args(State)
#: Records that are looked at for one page: a filter may let few of them through.
MOST_READ = 1000
#: Of a stream: seconds between two looks, and until a sign of life; and how many there may be.
LOOK_S, ALIVE_S = 0.5, 15.0
MOST_STREAMS = 200
#: What a page leaves out, for it may be large.
_LARGE = ("result", "arguments")
_SMALL = [field.name for field in fields(Meta) if field.name not in (*_LARGE, "id")]

Id = Annotated[str, Path(max_length=256, description="A workflow's id")]


async def list_workflows(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100, description="Most on a page")] = 20,
    before: Annotated[str | None, Query(max_length=256, description="Older than the workflow of this id")] = None,
    state: Annotated[State | None, Query(description="In this state only")] = None,
) -> Response:
    """Workflows, newest first. `next` is the next page; under a filter a page may be short, or empty, and not the last."""
    records = request.app.state.door.records
    start = 0 if before is None else await _place_after(records, before)
    found: list[Meta] = []
    looked_at, last = 0, None
    async for workflow_id, meta in _newest_first(records, start):
        looked_at, last = looked_at + 1, workflow_id
        if meta and state in {None, meta.state}:
            found.append(meta)
        if len(found) == limit or looked_at == MOST_READ:
            break
    else:
        last = None
    more = {key: value for key, value in (("limit", limit), ("state", state), ("before", last)) if value is not None}
    page = {
        "workflows": [{k: v for k, v in as_json(meta).items() if k not in _LARGE} for meta in found],
        "next": None if last is None else f"/v1/workflows?{urlencode(more)}",
    }
    return Response(_json(page), media_type="application/json")


async def _place_after(records: Redis, workflow_id: str) -> int:
    rank = await records.zrevrank(record.INDEX, workflow_id)
    if rank is None:
        raise UnknownWorkflow(f"before: no workflow has the id {workflow_id[:80]!r}; it may have expired.")
    return cast("int", rank) + 1


async def _newest_first(records: Redis, start: int) -> AsyncIterator[tuple[str, Meta | None]]:
    """Ids and records from this place on; None for a record that has expired."""
    while ids := cast("list[str]", await records.zrevrange(record.INDEX, start, start + record.PAGE - 1)):
        pipe = records.pipeline(transaction=False)
        for each in ids:
            pipe.hmget(record.meta_key(each), _SMALL)
        for each, values in zip(ids, await pipe.execute(), strict=True):
            found = {name: value for name, value in zip(_SMALL, values, strict=True) if value is not None}
            yield each, Meta.parse(each, found) if found.get("state") else None
        start += len(ids)


async def show_workflow(request: Request, workflow_id: Id) -> Response:
    """A workflow as it is now."""
    return shown(await read(request.app.state.door.records, workflow_id))


def shown(meta: Meta, status: int = 200, **headers: str) -> Response:
    """The answer that is a workflow's record."""
    return Response(_json(as_json(meta)), status, headers, media_type="application/json")


async def stream_workflow(request: Request, workflow_id: Id) -> Response:
    """A workflow as it goes on: server-sent events `progress`, each with its record, and an `end` after the last."""
    door: Door = request.app.state.door
    meta = await read(door.records, workflow_id)
    if door.streams >= MOST_STREAMS:
        raise unavailable(f"{MOST_STREAMS} workflows are being watched. Ask for this one without /stream now and then.")
    return StreamingResponse(
        _progress(door, meta), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _progress(door: Door, meta: Meta) -> AsyncIterator[str]:
    clock = asyncio.get_running_loop().time
    shown, spoke = None, clock()
    door.streams += 1
    try:
        while not door.stopping.is_set():
            if meta != shown:
                yield _sent("progress", meta)
                shown, spoke = meta, clock()
            if meta.ended:
                yield _sent("end", meta)
                return
            if clock() - spoke >= ALIVE_S:
                yield ": still there\n\n"
                spoke = clock()
            with suppress(TimeoutError):
                await asyncio.wait_for(door.stopping.wait(), LOOK_S)
            with suppress(redis.RedisError):  # away: what was shown last is what is known
                meta = await read(door.records, meta.id)
    except UnknownWorkflow:  # it has expired
        yield _sent("end", meta)
    finally:
        door.streams -= 1


def _sent(event: str, meta: Meta) -> str:
    return f"event: {event}\ndata: {_json(as_json(meta))}\n\n"


async def read(records: Redis, workflow_id: str) -> Meta:
    """A workflow's record as it is now. Raises UnknownWorkflow, or redis' errors."""
    if ":" in workflow_id:  # the keys beside a record have its id and a colon
        raise UnknownWorkflow(f"No workflow has the id {workflow_id[:80]!r}; ids have no colon.")
    return Meta.parse(workflow_id, cast("dict[str, str]", await records.hgetall(record.meta_key(workflow_id))))


def _json(value: Any) -> str:
    """JSON; a result that was NaN or infinite, which JSON does not have, is null."""
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(value, default=str), parse_constant=lambda _: None))


def as_json(meta: Meta) -> dict[str, Any]:
    """What a caller is shown of a record."""
    event = {"source": meta.event_source, "id": meta.event_id, "type": meta.event_type} if meta.event_id else None
    return {
        "id": meta.id,
        "name": meta.name,
        "state": meta.state,
        "attempt": meta.attempt,
        "total": meta.total,
        "done": meta.done,
        "failed": meta.failed,
        "created": rfc_3339(meta.created),
        "updated": rfc_3339(meta.updated),
        "reason": meta.reason,
        "event": event,
        "arguments": meta.arguments,
        "result": meta.result,
        "links": {"self": f"/v1/workflows/{meta.id}", "stream": f"/v1/workflows/{meta.id}/stream"},
    }


def rfc_3339(seconds: float) -> str:
    """A time since the epoch as text, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
