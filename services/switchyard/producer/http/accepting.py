"""Requests that tell of events in; what each event became out, as JSON."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from switchyard.errors import EventRefused
from switchyard.events import event, strict_json
from switchyard.events.acceptance import Accepted
from switchyard.events.event import Event
from switchyard.producer.http.bodies import BATCH, EVENT, JSON, media_type
from switchyard.producer.http.door import Door
from switchyard.producer.http.problems import Problem
from switchyard.queues import expected
from switchyard.report import REPORT_EVENT
from switchyard.routing import current_queues

_KEY = re.compile(r"[\x21-\x7e]{1,256}")

Endpoint = Callable[[Request], Awaitable[Response]]


async def take_events(request: Request) -> Response:
    """Take a CloudEvent, or a batch of them of which all are accepted or none.

    An event that was accepted before starts nothing; its workflow is the answer again.
    """
    found = event.parse(await request.body())
    wanted = media_type(request.headers.get("content-type", "").encode("latin-1"))
    if (wanted == EVENT) is isinstance(found, list) and wanted != JSON:
        raise EventRefused(
            f"The body is {'a batch' if wanted == EVENT else 'no batch'}; send it as {BATCH if wanted == EVENT else EVENT}."
        )
    door: Door = request.app.state.door
    if isinstance(found, list):
        return _json([_became(each) for each in await door.accept(found)], 202)
    return await _answer(door, found)


async def request_report(request: Request) -> Response:
    """Make a report; the body has its parameters, as they stand in its `Parameters`, or is empty."""
    name, reports = request.path_params["report"], current_queues().reports
    if name not in reports:
        raise Problem(404, f"There is no report {name[:80]!r}. {expected(name, reports)}")
    return await _command(request, REPORT_EVENT, lambda given: {"report": name, "parameters": given or {}})


def command(event_type: str) -> Endpoint:
    """The endpoint that takes the bare data of such an event."""

    async def take_command(request: Request) -> Response:
        return await _command(request, event_type, lambda given: given)

    return take_command


async def _command(request: Request, event_type: str, data_of: Callable[[dict[str, Any] | None], Any]) -> Response:
    source = f"{request.url.path}#{request.state.caller}"
    told = Event(
        specversion="1.0", id=_key(request), source=source, type=event_type, data=data_of(await _data(request))
    )
    return await _answer(request.app.state.door, told)


async def _data(request: Request) -> dict[str, Any] | None:
    content_type = request.headers.get("content-type")
    if content_type and media_type(content_type.encode("latin-1")) != JSON:
        raise Problem(415, f"Expected Content-Type: {JSON}; CloudEvents go to /v1/events.")
    body = await request.body()
    found = strict_json.loads(body) if body else None
    if body and not isinstance(found, dict):
        raise EventRefused("The body is no JSON object.")
    return found


def _key(request: Request) -> str:
    given = request.headers.getlist("idempotency-key")
    if not given:
        return str(uuid.uuid4())
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise Problem(400, "Idempotency-Key: expected 1 to 256 printable ASCII characters without spaces, once.")
    return given[0]


async def _answer(door: Door, told: Event) -> Response:
    [accepted] = await door.accept([told])
    if accepted.state == "ignored":
        return _json(_became(accepted), 200)
    return _json(_became(accepted), 202, Location=f"/v1/workflows/{accepted.workflow_id}")


def _became(accepted: Accepted) -> dict[str, Any]:
    name = {"source": accepted.event.source, "id": accepted.event.id}
    return {"workflow": accepted.workflow_id or None, "state": accepted.state, "event": name}


def _json(value: Any, status: int, **headers: str) -> Response:
    return Response(json.dumps(value), status, headers, JSON)
