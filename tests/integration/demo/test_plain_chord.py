"""The product workflow in plain Celery, as anyone would write it, against a real supplier and store."""

import pytest
from celery import Celery, chain, group
from celery.contrib.testing.worker import start_worker

from demo.store import store
from demo.tasks.products import refresh_products_plain, update_product_details, update_status_through_callback


@pytest.fixture(scope="module")
def worker():
    """A Celery worker in a thread, with a broker and a result backend in memory."""
    app = Celery("plain", broker="memory://", backend="cache+memory://")
    app.set_current()
    with start_worker(app, pool="threads", concurrency=8, perform_ping_check=False):
        yield app
    app.close()


def chained(ids):
    """The form of the article, verbatim."""
    group_tasks = [update_product_details.s(product_id) for product_id in ids]
    return chain(group(group_tasks), update_status_through_callback.s()).apply_async()


def test_the_callback_runs_once_with_every_result(worker, supplier):
    """All products are stored, and one status arrives under the callback's own id."""
    result = chained(range(1, 41))
    assert result.get(timeout=60) == {"status": True, "message": "updated status"}
    stats = supplier.stats()
    assert (stats["products_served"], stats["status_posts"], stats["last_key"]) == (40, 1, f"{result.id}/1")


def test_one_failed_product_keeps_the_status_back(worker, supplier):
    """No POST, and the message says why."""
    assert chained([1, 2, 999_999]).get(timeout=60) == {"status": False, "message": "not all products are updated"}
    assert supplier.stats()["status_posts"] == 0


def test_a_group_of_one_works_like_any_other(worker, supplier):
    """Celery unrolls it; the callback does not mind."""
    assert chained([1]).get(timeout=60) == {"status": True, "message": "updated status"}


def test_the_task_refreshes_the_products_of_the_store(worker, supplier):
    """refresh_products_plain returns the id under which the callback's result is found."""
    callback_id = refresh_products_plain.delay(limit=20).get(timeout=60, disable_sync_subtasks=False)
    assert worker.AsyncResult(callback_id).get(timeout=60) == {"status": True, "message": "updated status"}
    assert supplier.stats()["products_served"] == 20


def test_an_empty_store_is_said_to_be_empty(worker, supplier):
    """No products: no HTTP call, and a callback that says so."""
    callback_id = refresh_products_plain.delay(limit=0).get(timeout=60)
    assert worker.AsyncResult(callback_id).get(timeout=60) == {"status": False, "message": "no products to update"}
    assert supplier.stats()["status_posts"] == 0
    assert len(store().product_ids()) == 300
