"""Every request in; the ones that a known caller makes of a known host, with a JSON body of bounded size, out to the app.

Pure ASGI, around the app: nothing behind it sees a body that is not whole. Every request is answered within DEADLINE_S, and
what the app does not expect becomes a problem without details.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from switchyard.logs import get_logger
from switchyard.producer.http import bodies
from switchyard.producer.http.problems import Problem, unavailable
from switchyard.producer.http.tokens import Tokens

#: Seconds until a response has begun, the time its request's body takes included.
DEADLINE_S = 3.0
#: Requests answered at the same time; each may hold a body.
MOST_REQUESTS = 1000
#: Who asks after these is no caller.
OPEN_PATHS = ("/healthz", "/readyz")

log = get_logger(__name__)


class Guard:
    """Checks each request in the order of what a check may give away: host, caller, content type, size."""

    def __init__(self, app: ASGIApp, tokens: Tokens, hosts: Iterable[str]) -> None:
        """`hosts` are names without a port."""
        self._app, self._tokens = app, tokens
        self._hosts = frozenset(host.strip().lower().encode() for host in hosts)
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clear_contextvars()  # a pipelined request inherits those of the one before
        self._requests += 1
        try:
            refused = await self._answer(scope, receive, send)
        finally:
            self._requests -= 1
        if refused:  # not counted any more: who has no token must not take the place of those who have
            await bodies.refuse(refused, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Problem | None:
        """Answer; a problem whose request's body was not read is returned instead."""
        body, started = None, False

        async def note_start(message: Message) -> None:
            nonlocal started
            if not started:
                started = True
                deadline.reschedule(None)  # a stream or a large file may take its time
            await send(message)

        try:
            async with asyncio.timeout(DEADLINE_S) as deadline:
                self._check(scope)
                if (body := await bodies.read(receive)) is not None:
                    await self._app(scope, bodies.replay(body, receive), note_start)
            return None
        except Problem as exc:
            problem = exc
        except Exception as exc:
            if deadline.expired():
                problem = _late(body)
            else:
                log.exception("request_failed", method=scope["method"], path=scope["path"][:200], exc_info=exc)
                problem = Problem(500, "Something went wrong here; the log says what.")
        if started:  # the app has answered, or can no longer
            return None
        log.info("request_refused", method=scope["method"], path=scope["path"][:200], status=problem.status, reason=problem.detail)  # fmt: skip
        if body is None:
            return problem
        await problem.response()(scope, receive, send)
        return None

    def _check(self, scope: Scope) -> None:
        if self._requests > MOST_REQUESTS:
            raise unavailable(f"{MOST_REQUESTS} requests are being answered; this one was not begun.")
        headers = scope["headers"]
        self._check_host([value for name, value in headers if name == b"host"])
        if scope["path"] not in OPEN_PATHS:
            scope["state"]["caller"] = self._caller([value for name, value in headers if name == b"authorization"])
        single: Mapping[bytes, bytes] = dict(headers)
        bodies.check_type(scope["method"], single)
        bodies.check_length(single)

    def _check_host(self, given: list[bytes]) -> None:
        name = given[0].lower() if len(given) == 1 else b""
        host, colon, port = name.rpartition(b":")
        if colon and port.isdigit():
            name = host
        if name not in self._hosts:
            raise Problem(421, "This host is not served here; API_HOSTS names those that are.")

    def _caller(self, given: list[bytes]) -> str:
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() != b"bearer":
            raise Problem(401, "Expected the header Authorization: Bearer <token>.", {"WWW-Authenticate": "Bearer"})
        caller = self._tokens.caller(token.strip())
        if caller is None:
            raise Problem(401, "No caller has this token.", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        bind_contextvars(caller=caller)
        return caller


def _late(body: bytes | None) -> Problem:
    if body is None:
        return Problem(408, f"The body was not there within {DEADLINE_S:g} s.")
    return unavailable(
        f"There was no answer within {DEADLINE_S:g} s. Try again; an event that was accepted after all starts nothing twice."
    )
