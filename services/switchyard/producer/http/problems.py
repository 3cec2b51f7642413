"""An exception in; the problem+json (RFC 9457) that the caller gets out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

import redis
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from switchyard.errors import (
    EventConflict,
    EventRefused,
    EventUnwanted,
    SwitchyardError,
    Unavailable,
    UnknownWorkflow,
    WorkflowConflict,
    refusal,
)
from switchyard.workflows import record

MEDIA_TYPE = "application/problem+json"
_STATUS: Mapping[type[SwitchyardError], int] = {
    # The first that fits: the narrower ones come first.
    EventConflict: 409,
    EventUnwanted: 422,
    EventRefused: 400,
    UnknownWorkflow: 404,
    WorkflowConflict: 409,
}
_REDIS_AWAY = (
    "Redis does not answer, or takes nothing now. Try again; an event that was accepted after all starts nothing twice."
)


class Problem(Exception):
    """A request that is not answered as asked: the status, and a sentence for the caller."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        phrase = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": phrase, "status": self.status, "detail": self.detail}
        return Response(json.dumps(body), self.status, self.headers, MEDIA_TYPE)


def unavailable(detail: str) -> Problem:
    """A problem that passes; the caller is told when to try again."""
    return Problem(503, detail, {"Retry-After": str(Unavailable.retry_after)})


def problem_of(exc: Exception) -> Problem | None:
    """What a caller is told of an exception; None for one that nobody expected."""
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, Unavailable):
        return unavailable(str(exc))
    if isinstance(exc, redis.RedisError) and record.passing(exc):
        return unavailable(_REDIS_AWAY)
    if isinstance(exc, RequestValidationError):
        return Problem(422, " ".join(f"{error['loc'][-1]}: {refusal(error)}." for error in exc.errors()[:5]))
    if isinstance(exc, HTTPException):
        return Problem(exc.status_code, str(exc.detail), exc.headers)
    return next((Problem(status, str(exc)) for cls, status in _STATUS.items() if isinstance(exc, cls)), None)
