"""Whether this process answers, and whether it could accept an event now: for whoever watches it, without a token."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from switchyard.producer.http.door import Door

_OK = b'{"status": "ok"}'


async def show_health(_: Request) -> Response:
    """This process answers."""
    return Response(_OK, media_type="application/json")


async def show_readiness(request: Request) -> Response:
    """Redis answers this process, for the broker and for the records."""
    door: Door = request.app.state.door
    await door.broker.ping()
    await door.records.ping()
    return Response(_OK, media_type="application/json")
