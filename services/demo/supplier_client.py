"""Questions for the supplier come in from the tasks, HTTP requests go out, checked answers come back."""

import json
import os
from functools import cache
from typing import Any

import urllib3

from demo.errors import SupplierError
from demo.product import Product, parse_product
from demo.settings import demo_settings

#: Connections kept open, one for each product in flight; callers beyond that wait for one.
MOST_CONNECTIONS = 512
_TIMEOUT = urllib3.Timeout(connect=3.0, read=10.0)
# Asking twice does no harm, so a supplier that restarts costs seconds (up to 0, 1, 2, 4, 5 and 5 between attempts) and not
# the product. Its answers are final.
_ASK_AGAIN = urllib3.Retry(connect=6, read=2, redirect=0, status=0, other=0, backoff_factor=0.5, backoff_max=5)


class SupplierClient:
    """The supplier's HTTP API at one address. Every method raises SupplierError when the answer is no 2xx."""

    def __init__(self, url: str) -> None:
        """Connects at the first request only."""
        self._url = url
        self._path = urllib3.util.parse_url(url).path or ""
        self._pool = urllib3.connection_from_url(url, maxsize=MOST_CONNECTIONS, block=True, timeout=_TIMEOUT)

    def product(self, product_id: int) -> Product:
        """The supplier's details of a product. Raises ProductError when they are not those of one."""
        reply = self._request("GET", f"/products/{product_id}", retries=_ASK_AGAIN)
        try:
            fields = json.loads(reply)
        except ValueError as exc:
            raise SupplierError(f"The supplier's answer for product {product_id} is not JSON: {exc}.") from exc
        if not isinstance(fields, dict) or fields.get("product_id") != product_id:
            raise SupplierError(f"The supplier's answer for product {product_id} describes something else.")
        return parse_product(fields)

    def report_status(self, idempotency_key: str, products: int) -> None:
        """Tell the supplier, once, that all `products` are updated; it counts a repeated key only once."""
        # retries=False: whether to say it again is the caller's to decide, not the pool's.
        headers = {"Idempotency-Key": idempotency_key, "Content-Type": "application/json"}
        body = json.dumps({"status": "updated", "products": products})
        self._request("POST", "/status", retries=False, headers=headers, body=body)

    def _request(self, method: str, path: str, **options: Any) -> bytes:
        try:
            reply = self._pool.urlopen(method, self._path + path, redirect=False, **options)
        except urllib3.exceptions.HTTPError as exc:
            raise SupplierError(f"The supplier at {self._url} did not answer {method} {path}: {exc}.") from exc
        if not 200 <= reply.status < 300:
            raise SupplierError(f"The supplier answered {method} {path} with {reply.status}.")
        return reply.data


def supplier_client() -> SupplierClient:
    """The client of this process for SUPPLIER_URL."""
    return _client_of(os.getpid())


@cache
def _client_of(_pid: int) -> SupplierClient:
    # One per process: two processes that write into one inherited connection get each other's answers.
    return SupplierClient(demo_settings().supplier_url)
