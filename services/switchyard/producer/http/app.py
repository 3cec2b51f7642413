"""The HTTP door's routes: requests that the guard lets through come in, responses go out; every refusal is a problem+json."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import redis
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from switchyard.errors import EventRefused, Unavailable, WorkflowError
from switchyard.events import acceptance
from switchyard.logs import get_logger
from switchyard.producer.http import accepting, changing, health, openapi, reports, schemas, workflows
from switchyard.producer.http.accepting import Endpoint
from switchyard.producer.http.door import NAME, open_door
from switchyard.producer.http.guard import Guard
from switchyard.producer.http.openapi import KNOWN, LOCATION, OPEN, Responses, answer, problems
from switchyard.producer.http.problems import Problem, problem_of
from switchyard.producer.http.schemas import ref
from switchyard.producer.http.tokens import Tokens
from switchyard.settings import settings

#: Where most requests go.
EVENTS = "/v1/events"
WORKFLOWS = "/v1/workflows"

log = get_logger(__name__)


def create_app(stopping: asyncio.Event | None = None) -> ASGIApp:
    """The guarded app; `stopping` ends its streams. Raises ConfigError for an events.toml or queues.toml that is refused."""
    # No page that would load scripts from elsewhere; no second address for anything.
    app = FastAPI(title="Switchyard", docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=_lifespan)
    app.state.stopping = stopping or asyncio.Event()
    _add_events(app)
    _add_workflows(app)
    _add_reports(app)
    _add_health(app)
    app.openapi = lambda: openapi.document(app.routes)  # type: ignore[method-assign]
    for cls in (Problem, EventRefused, Unavailable, WorkflowError, redis.RedisError, RequestValidationError):
        app.add_exception_handler(cls, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _fail)
    return Guard(Shortcut(app), Tokens(settings().api_tokens_file), settings().api_hosts.split(","))


class Shortcut:
    """Takes events past the app's layers, which find nothing to do there, and would cost as much as all else together."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope.get("path") != EVENTS or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request({**scope, "app": self._app}, receive)
        try:
            response = await accepting.take_events(request)
        except Exception as exc:  # noqa: BLE001  raised again where it is none that a caller is told of
            response = await _refuse(request, exc)
        await response(scope, receive, send)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with open_door(app.state.stopping) as app.state.door:
        yield


def _add_events(app: FastAPI) -> None:
    def add(path: str, endpoint: Endpoint, responses: Responses, **description: Any) -> None:
        app.add_api_route(
            path, endpoint, methods=["POST"], status_code=202, tags=["events"], response_class=Response,
            responses={**problems(*KNOWN, 400, 409, 422), **responses}, **description,
        )  # fmt: skip

    accepted = answer("Accepted, now or before", ref("Accepted"), headers=LOCATION)
    ignored = answer("No filter lets it through; it starts nothing", ref("Accepted"))
    either = {"anyOf": [ref("Accepted"), {"type": "array", "items": ref("Accepted")}]}
    some = answer("Accepted, now or before; a batch is answered with an array", either, headers=LOCATION)
    add(EVENTS, accepting.take_events, {200: ignored, 202: some}, summary="Tell of events",
        openapi_extra=openapi.events_body())  # fmt: skip
    add("/v1/reports/{report}", accepting.request_report, {202: accepted, **problems(404)}, summary="Make a report",
        openapi_extra=openapi.data_body(ref("Data"), {"period": "2017-05"}, openapi.REPORT, openapi.KEY))  # fmt: skip
    for path, (event_type, data) in _paths().items():
        shown = schemas.example(event_type, data).get("data", {})
        add(path, accepting.command(event_type), {200: ignored, 202: accepted}, summary=f"Tell of {event_type}",
            description=f"The body is the data of an event `{event_type}`.",
            openapi_extra=openapi.data_body({"allOf": [ref("Data"), data]}, shown, openapi.KEY))  # fmt: skip


def _paths() -> dict[str, tuple[str, schemas.Schema]]:
    rules = acceptance.event_config().rules
    return {rule.path: (name, schemas.data_of(some)) for name, some in rules.items() for rule in some if rule.path}


def _add_workflows(app: FastAPI) -> None:
    add = partial(app.add_api_route, methods=["GET"], tags=["workflows"], response_class=Response)
    add("/v1/workflows", workflows.list_workflows, summary="Workflows, newest first",
        responses={200: answer("A page", ref("WorkflowPage")), **problems(*KNOWN, 404, 422)})  # fmt: skip
    add("/v1/workflows/{workflow_id}", workflows.show_workflow, summary="A workflow",
        responses={200: answer("Its record", ref("Workflow")), **problems(*KNOWN, 404, 422)})  # fmt: skip
    events = {
        "description": "Events `progress` with its record, and an `end`",
        "content": {"text/event-stream": {"itemSchema": ref("Progress")}},
    }
    change = partial(app.add_api_route, tags=["workflows"], response_class=Response)
    change("/v1/workflows/{workflow_id}", changing.cancel_workflow, methods=["DELETE"], summary="Cancel a workflow",
           responses={200: answer("Its record, cancelled now or before", ref("Workflow")), **problems(*KNOWN, 404, 422),
                      **openapi.conflict("The workflow has ended otherwise")})  # fmt: skip
    opened = answer("Its record, with the attempt that was opened", ref("Workflow"), headers=LOCATION)
    change("/v1/workflows/{workflow_id}/attempts", changing.open_attempt, methods=["POST"], status_code=201,
           summary="Replay what failed", responses={201: opened, **problems(*KNOWN, 404, 422), **openapi.conflict(
               "An attempt is under way, the workflow was cancelled, nothing has failed, or its items have expired")})  # fmt: skip
    add("/v1/workflows/{workflow_id}/stream", workflows.stream_workflow, summary="A workflow as it goes on",
        responses={200: events, **problems(*KNOWN, 404, 422)})  # fmt: skip


def _add_reports(app: FastAPI) -> None:
    add = partial(app.add_api_route, methods=["GET"], tags=["reports"], response_class=Response)
    add("/v1/reports", reports.list_reports, summary="The reports there are",
        responses={200: answer("Their names", ref("Reports")), **problems(*KNOWN)})  # fmt: skip
    add("/v1/reports/{report}", reports.show_report, summary="A report's artefacts, newest first",
        responses={200: answer("What is kept", ref("Artefacts")), **problems(*KNOWN, 404)},
        openapi_extra={"parameters": [openapi.REPORT]})  # fmt: skip
    files = {
        "description": "The file",
        "content": {kind: {"schema": {"type": "string"}} for kind in reports.MEDIA_TYPES.values()},
    }
    add("/v1/reports/{report}/{file}", reports.send_file, summary="A file of an artefact",
        responses={200: files, **problems(*KNOWN, 404)},
        openapi_extra={"parameters": [openapi.REPORT, openapi.FILE]})  # fmt: skip


def _add_health(app: FastAPI) -> None:
    responses: Responses = {200: answer("It is", ref("Health")), **problems(*OPEN)}
    add = partial(app.add_api_route, methods=["GET"], tags=["health"], response_class=Response, responses=responses,
                  openapi_extra={"security": []})  # fmt: skip
    add("/healthz", health.show_health, summary="Whether this process answers")
    add("/readyz", health.show_readiness, summary="Whether it can accept events")


async def _refuse(request: Request, exc: Exception) -> Response:
    problem = problem_of(exc)
    if problem is None:
        raise exc  # to `_fail`, and to the log
    if problem.status == 405:
        problem.headers = {"Allow": ", ".join(_allowed(request))}
        problem.detail = f"Expected one of: {problem.headers['Allow']}."
    elif problem.status == 404 and isinstance(exc, HTTPException):
        problem.detail = f"There is nothing at {request.url.path[:120]!r}; /openapi.json says what there is."
    if request.method in ("POST", "DELETE"):
        of_workflow = request.url.path.startswith(WORKFLOWS)
        refused = "workflow_change_refused" if of_workflow else "event_refused"
        log.info(refused, status=problem.status, reason=problem.detail, door=NAME)
    return problem.response()


def _allowed(request: Request) -> list[str]:
    """The methods of all routes with the request's path; the router itself looks at the first one only."""
    routes: list[Any] = [route for route in request.app.routes if isinstance(route, Route)]
    return sorted(
        {method for route in routes if route.path_regex.match(request.url.path) for method in route.methods or ()}
    )


async def _fail(_: Request, __: Exception) -> Response:
    return Problem(500, "Something went wrong here; the log says what.").response()
