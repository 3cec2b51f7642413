"""Questions for the supplier come in from the tasks, HTTP requests go out, checked answers come back."""

import json
import os
import ssl
import time
from functools import cache

from demo.errors import SupplierError
from demo.http_pool import FAILURES, HttpPool, NotConnected
from demo.product import Product, parse_product
from demo.settings import demo_settings

#: Connections kept open, one for each product in flight; callers beyond that wait for one.
MOST_CONNECTIONS = 512
_CONNECT_S, _READ_S = 3.0, 10.0
# Asking twice does no harm, so a supplier that restarts costs these seconds between attempts and not the product: while it
# takes no connection, and after no answer came. Its answers are final.
_CONNECT_AGAIN_S, _ASK_AGAIN_S = (0.0, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0), (0.0, 1.0)


class SupplierClient:
    """The supplier's HTTP API at one address. Every method raises SupplierError when the answer is no 2xx."""

    def __init__(self, url: str) -> None:
        """Connects at the first request only."""
        self._url = url
        self._pool = HttpPool(url, size=MOST_CONNECTIONS, connect_s=_CONNECT_S, read_s=_READ_S)

    def product(self, product_id: int) -> Product:
        """The supplier's details of a product. Raises ProductError when they are not those of one."""
        reply = self._get(f"/products/{product_id}")
        try:
            fields = json.loads(reply)
        except ValueError as exc:
            raise SupplierError(f"The supplier's answer for product {product_id} is not JSON: {exc}.") from exc
        if not isinstance(fields, dict) or fields.get("product_id") != product_id:
            raise SupplierError(f"The supplier's answer for product {product_id} describes something else.")
        return parse_product(fields)

    def report_status(self, idempotency_key: str, products: int) -> None:
        """Tell the supplier, once, that all `products` are updated; it counts a repeated key only once."""
        # Sent once: whether to say it again is the caller's to decide.
        headers = {"Idempotency-Key": idempotency_key, "Content-Type": "application/json"}
        body = json.dumps({"status": "updated", "products": products})
        try:
            answer = self._pool.post("/status", body, headers)
        except FAILURES as exc:
            raise self._unanswered("POST /status", exc) from exc
        self._body_of("POST /status", answer)

    def _get(self, path: str) -> bytes:
        connect_again, ask_again = iter(_CONNECT_AGAIN_S), iter(_ASK_AGAIN_S)
        while True:
            try:
                answer = self._pool.get(path)
            except FAILURES as exc:
                pause = next(connect_again if isinstance(exc, NotConnected) else ask_again, None)
                # A certificate that is none will be none again.
                if pause is None or isinstance(exc.__cause__, ssl.SSLError):
                    raise self._unanswered(f"GET {path}", exc) from exc
                time.sleep(pause)
            else:
                return self._body_of(f"GET {path}", answer)

    def _unanswered(self, request: str, exc: Exception) -> SupplierError:
        return SupplierError(f"The supplier at {self._url} did not answer {request}: {str(exc) or type(exc).__name__}.")

    def _body_of(self, request: str, answer: tuple[int, bytes]) -> bytes:
        status, body = answer
        if not 200 <= status < 300:
            raise SupplierError(f"The supplier answered {request} with {status}.")
        return body


def supplier_client() -> SupplierClient:
    """The client of this process for SUPPLIER_URL."""
    return _client_of(os.getpid())


@cache
def _client_of(_pid: int) -> SupplierClient:
    # One per process: two processes that write into one inherited connection get each other's answers.
    return SupplierClient(demo_settings().supplier_url)
