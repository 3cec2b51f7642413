"""The supplier's ASGI app: requests come in from uvicorn, responses go out. No framework: routing is five lines."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from demo.errors import StoreError, SupplierError
from demo.supplier.catalogue import Catalogue
from demo.supplier.knobs import Knobs
from demo.supplier.ledger import Ledger
from switchyard.logs import get_logger

log = get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: A status and a body, which is JSON already.
Response = tuple[int, bytes]

#: A body larger than this is none of ours.
MOST_BODY_BYTES = 10_000
_PRODUCTS = "/products/"
_NOT_FOUND = (404, b'{"error": "There is no product with this id."}')
_FAILURE = (503, b'{"error": "The supplier was told to fail this request."}')


class Supplier:
    """Products, status reports and knobs over HTTP."""

    def __init__(self, catalogue: Catalogue, ledger: Ledger, knobs: Knobs) -> None:
        """Counts start at zero, except those of the ledger."""
        self._catalogue = catalogue
        self._ledger = ledger
        self._knobs = knobs
        self._served = self._failed = self._not_found = 0
        self._routes: dict[str, tuple[str, Callable[[Scope, bytes], Awaitable[Response]]]] = {
            "/status": ("POST", self._take_status),
            "/stats": ("GET", self._show_stats),
            "/knobs": ("PUT", self._turn_knobs),
            "/reload": ("POST", self._reload),
            "/healthz": ("GET", self._show_health),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        try:
            if path.startswith(_PRODUCTS) and scope["method"] == "GET":
                status, body = await self._show_product(path[len(_PRODUCTS) :])
            else:
                status, body = await self._answer(scope, receive)
        except SupplierError as exc:
            status, body = _refusal(400, str(exc))
        except (StoreError, OSError) as exc:
            log.warning("request_failed", path=path, reason=str(exc))
            status, body = _refusal(503, f"The supplier could not do this. {exc}")
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _show_product(self, product_id: str) -> Response:
        if self._knobs.latency_ms:
            await asyncio.sleep(self._knobs.latency_ms / 1000)
        if random.random() < self._knobs.failure_rate:  # noqa: S311 - chance, not secrecy
            self._failed += 1
            return _FAILURE
        body = self._catalogue.bodies.get(product_id) or await self._catalogue.look_up(product_id)
        if body is None:
            self._not_found += 1
            return _NOT_FOUND
        self._served += 1
        return 200, body

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        path = scope["path"]
        method, answer = self._routes.get(path, ("GET", None))
        if path.startswith(_PRODUCTS) or (answer and scope["method"] != method):
            return _refusal(405, f"{path[:60]} takes {method}, not {scope['method']}.")
        if answer is None:
            return _refusal(404, f"There is nothing at {path[:60]}.")
        return await answer(scope, await _read_body(receive))

    async def _take_status(self, scope: Scope, _body: bytes) -> Response:
        self._ledger.add(dict(scope["headers"]).get(b"idempotency-key"))
        return 200, b'{"status": "taken"}'

    async def _show_stats(self, _scope: Scope, _body: bytes) -> Response:
        return _json(
            products_served=self._served,
            failures_injected=self._failed,
            not_found=self._not_found,
            status_posts=self._ledger.posts,
            distinct_keys=len(self._ledger.distinct),
            last_key=self._ledger.last,
        )

    async def _turn_knobs(self, _scope: Scope, body: bytes) -> Response:
        self._knobs = self._knobs.turned(body)
        return _json(**self._knobs.model_dump())

    async def _reload(self, _scope: Scope, _body: bytes) -> Response:
        return _json(products=await self._catalogue.reload())

    async def _show_health(self, _scope: Scope, _body: bytes) -> Response:
        return _json(status="ok")


async def _read_body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            raise SupplierError(f"The body is longer than {MOST_BODY_BYTES} bytes.")
        if not message.get("more_body", False):
            return body


def _json(**fields: Any) -> Response:
    return 200, json.dumps(fields).encode()


def _refusal(status: int, sentence: str) -> Response:
    return status, json.dumps({"error": sentence}).encode()
