"""The product workflow: ids come in from the store, refreshed products go out to it, one status to the supplier."""

import uuid
from collections.abc import Mapping
from typing import Any, TypedDict

from celery import chain, current_task, group, shared_task

from demo.product import checked_id, quoted
from demo.store import store
from demo.supplier_client import supplier_client
from switchyard.logs import get_logger
from switchyard.workflows import current, fan_out

log = get_logger(__name__)


class Result(TypedDict):
    """What a task says it did, in words for people."""

    status: bool
    message: str


@shared_task(name="update_product_details")
def update_product_details(product_id: int) -> Result:
    """Ask the supplier for a product and store it. A product that fails, for whatever reason, is a false result."""
    try:
        product = supplier_client().product(checked_id(product_id))
        workflow = current()
        store().save(product, workflow.id if workflow else None)
    except Exception as exc:  # noqa: BLE001 - one product must never end the others' workflow
        log.warning("product_not_updated", product_id=quoted(product_id), reason=str(exc), error=type(exc).__name__)
        return {"status": False, "message": "error in updating"}
    return {"status": True, "message": "successfully updated"}


@shared_task(name="update_status_through_callback")
def update_status_through_callback(grouped_result: Any) -> Result:
    """Tell the supplier that all products are updated, if `grouped_result` says so of every one of them."""
    # Celery unrolls a group of one: its callback gets the result itself, not a list of it.
    results = [grouped_result] if isinstance(grouped_result, Mapping) else grouped_result
    if results == []:
        return {"status": False, "message": "no products to update"}
    if not isinstance(results, list) or not all(_is_true(result) for result in results):
        return {"status": False, "message": "not all products are updated"}
    key = _idempotency_key()
    try:
        supplier_client().report_status(key, len(results))
    except Exception as exc:  # noqa: BLE001 - whatever it is, the status did not arrive
        log.warning("status_not_reported", idempotency_key=key, reason=str(exc), error=type(exc).__name__)
        return {"status": False, "message": "error in making callback"}
    return {"status": True, "message": "updated status"}


@shared_task(name="refresh_products")
def refresh_products(limit: int | None = None) -> str:
    """Refresh the products in the store, or the first `limit`, as a workflow; returns its id."""
    return fan_out(
        update_product_details, store().product_ids(_checked_limit(limit)), callback=update_status_through_callback
    )


@shared_task(name="refresh_products_plain")
def refresh_products_plain(limit: int | None = None) -> str:
    """The same in plain Celery, one message per product and a chord; returns the id of the callback's result."""
    group_tasks = [update_product_details.s(product_id) for product_id in store().product_ids(_checked_limit(limit))]
    if group_tasks:
        async_result = chain(group(group_tasks), update_status_through_callback.s()).apply_async()
    else:
        # Celery drops an empty group from its chain, and the callback would get no argument at all.
        async_result = update_status_through_callback.delay([])
    log.info("products_refresh_started", callback_id=async_result.id, products=len(group_tasks))
    return str(async_result.id)


def _checked_limit(limit: object) -> int | None:
    if limit is None or (type(limit) is int and limit >= 0):
        return limit
    raise ValueError(f"limit {quoted(limit)} is not a whole number from 0; leave it out to refresh all products.")


def _is_true(result: object) -> bool:
    return isinstance(result, Mapping) and result.get("status") is True


def _idempotency_key() -> str:
    """What makes this attempt's status one and the same, however often its message is delivered."""
    if (workflow := current()) is not None:
        return f"{workflow.id}/{workflow.attempt}"
    # Outside a workflow the task's own id is kept through redeliveries; a bare call has none.
    return f"{current_task.request.id or uuid.uuid4()}/1"
