"""The app's routes in; its OpenAPI document out: each status that can occur, with its media type and headers, and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from switchyard.events import acceptance
from switchyard.producer.http import schemas
from switchyard.producer.http.bodies import BATCH, EVENT, JSON
from switchyard.producer.http.problems import MEDIA_TYPE
from switchyard.producer.http.schemas import Schema, ref
from switchyard.routing import current_queues

Responses = dict[int | str, dict[str, Any]]

_WHY = {
    400: "The body is no JSON, or no CloudEvent",
    401: "No token, or one that nobody has",
    404: "There is no such thing, or no longer",
    408: "The body did not arrive in time",
    409: "Another event with this source and id was accepted before",
    413: "The body is too large",
    415: "The body is not said to be JSON in UTF-8",
    421: "The host is not served here",
    422: "What was asked for cannot be: nothing waits for the event, or a parameter is no such value",
    500: "Something went wrong; the log says what",
    503: "Redis is away or full, or a queue is at its bound: try again",
}
_TEXT = {"schema": {"type": "string"}}
_HEADERS: Mapping[int, Schema] = {
    401: {"WWW-Authenticate": {"description": "Bearer", "required": True, **_TEXT}},
    503: {
        "Retry-After": {
            "description": "Seconds",
            "required": True,
            "schema": {"type": "string", "pattern": "^[0-9]+$"},
        }
    },
}
_DETAILS = {
    400: "The body is not JSON: expecting value in line 1, column 1.",
    422: "type: nothing waits for 'product.update'. Did you mean 'product.updated'?",
}
LOCATION = {"Location": {"description": "Where its workflow can be looked at", **_TEXT}}
#: What every request may be answered with, and what one of a known caller may be.
OPEN = (408, 413, 415, 421, 500, 503)
KNOWN = (401, *OPEN)

KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again with the same key and body, the request starts nothing twice",
    "schema": {"type": "string", "pattern": "^[!-~]{1,256}$"},
    "example": "2026-01-31/nightly",
}
REPORT: Schema = {"name": "report", "in": "path", "required": True, "schema": ref("ReportName")}
FILE: Schema = {
    "name": "file",
    "in": "path",
    "required": True,
    "description": "As in the list of the report's artefacts",
    "schema": {"type": "string", "minLength": 1},
    "example": "sales-2017-0123456789ab.csv",
}


def problems(*statuses: int) -> Responses:
    """These statuses as problem+json."""
    return {status: _problem(status, _WHY[status]) for status in statuses}


def conflict(why: str) -> Responses:
    """409 as problem+json, where it is about something else than an event."""
    return {409: _problem(409, why)}


def _problem(status: int, why: str) -> dict[str, Any]:
    shown = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _DETAILS.get(status, f"{why}."),
    }
    return {
        "description": why,
        "headers": dict(_HEADERS.get(status, {})),
        "content": {MEDIA_TYPE: {"schema": ref("Problem"), "example": shown}},
    }


def answer(description: str, schema: Schema, media_type: str = JSON, headers: Schema | None = None) -> dict[str, Any]:
    """A response that is no problem."""
    return {"description": description, "headers": headers or {}, "content": {media_type: {"schema": schema}}}


def events_body() -> Schema:
    """The request body of POST /v1/events."""
    examples = _examples()
    event = {"schema": ref("CloudEvent"), "examples": examples}
    batch = {
        "schema": ref("Batch"),
        "examples": {
            "two": {
                "value": [{**each["value"], "id": f"batch/{place}"} for place, each in enumerate(examples.values())]
            }
        },
    }
    either = {"schema": {"anyOf": [ref("CloudEvent"), ref("Batch")]}, "examples": examples}
    return {"requestBody": {"required": True, "content": {EVENT: event, BATCH: batch, JSON: either}}}


def _examples() -> dict[str, Any]:
    found = schemas.components(acceptance.event_config(), current_queues().reports)["CloudEvent"]["examples"]
    return {each["type"]: {"value": each} for each in found}


def data_body(schema: Schema, shown: Any, *parameters: Schema) -> Schema:
    """The parameters and the request body of an endpoint that takes an event's bare data, or nothing."""
    return {
        "parameters": list(parameters),
        "requestBody": {"required": False, "content": {JSON: {"schema": schema, "example": shown}}},
    }


def document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document of these routes, with the reports as they are now."""
    found = get_openapi(
        title="Switchyard",
        version="1",
        description="Tell of an event, and see what becomes of the workflow that it starts. A method that a path does not "
        "take is answered with 405 and the header Allow, a path that there is not with 404; both are problems, too.",
        routes=routes,
        tags=[
            {"name": "events", "description": "What starts workflows"},
            {"name": "workflows", "description": "What became of them, and what else is to"},
            {"name": "reports", "description": "What some of them make"},
            {"name": "health", "description": "For whoever watches this process"},
        ],
    )
    found["components"] = {
        "schemas": schemas.components(acceptance.event_config(), current_queues().reports),
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "One of the lines of api_tokens"}
        },
    }
    found["security"] = [{"token": []}]
    return found
