"""What our way, the article's and the bare loop do for a product: ask with the demo's client, and store."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from bench.fan_out import common

from demo.supplier_client import SupplierClient


@cache
def _client() -> SupplierClient:
    return SupplierClient(f"http://127.0.0.1:{os.environ[common.SUPPLIER]}")


def update(product_id: int) -> dict[str, Any]:
    """Ask and store, and say so as the demo does."""
    common.save(_client().product(product_id))
    return common.UPDATED


def all_updated(results: Any) -> dict[str, Any]:
    """What the callback makes of all results."""
    if not all(result["status"] for result in results):
        return {"status": False, "message": "not all products are updated"}
    common.done(len(results))
    return {"status": True, "message": "updated status"}
