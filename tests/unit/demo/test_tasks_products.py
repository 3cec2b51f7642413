"""The product workflow's two tasks, with nobody on the other end."""

import pytest

from demo.errors import SupplierError
from demo.product import parse_product
from demo.store import store
from demo.tasks import products
from demo.tasks.products import refresh_products_plain, update_product_details, update_status_through_callback
from switchyard.workflows.context import Current, running_in

UPDATED = {"status": True, "message": "successfully updated"}
FAILED = {"status": False, "message": "error in updating"}
NOT_ALL = {"status": False, "message": "not all products are updated"}


class FakeSupplier:
    """Knows every product except 404, and keeps the status reports."""

    def __init__(self):
        self.reports = []
        self.refuses = False

    def product(self, product_id):
        if product_id == 404:
            raise SupplierError
        if product_id == 500:
            raise MemoryError
        return parse_product({"product_id": product_id, "brand": "fresh"})

    def report_status(self, idempotency_key, count):
        if self.refuses:
            raise SupplierError
        self.reports.append((idempotency_key, count))


@pytest.fixture
def supplier(monkeypatch):
    fake = FakeSupplier()
    monkeypatch.setattr(products, "supplier_client", lambda: fake)
    return fake


def test_a_product_is_asked_for_and_stored(supplier):
    """The result says so only once the product is in the store, under its workflow."""
    with running_in(Current("w", 1)):
        assert update_product_details(7) == UPDATED
    assert store().details(7)["brand"] == "fresh"
    assert store().counts("w") == (1, 1)


@pytest.mark.parametrize(
    "product_id",
    [
        404,
        500,
        -1,
        True,
        None,
        "25671",
        1.5,
        [],
        {"id": 1},
        pytest.param(10**5000, id="of 5001 digits"),
        "x" * 100_000,
    ],  # unknown, or no id at all
)
def test_a_bad_product_is_a_false_result_and_never_an_exception(supplier, product_id):
    """Whatever arrives as an id, the workflow goes on."""
    assert update_product_details(product_id) == FAILED


def test_a_store_that_is_away_is_a_false_result(supplier, monkeypatch):
    """A product that was not stored is not updated."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d")
    assert update_product_details(7) == FAILED


def test_a_stop_is_not_taken_for_a_bad_product(supplier, monkeypatch):
    """What ends the process or the greenlet passes through."""

    def stop(product_id):
        raise KeyboardInterrupt

    monkeypatch.setattr(supplier, "product", stop)
    with pytest.raises(KeyboardInterrupt):
        update_product_details(7)


def test_the_status_is_reported_when_all_are_updated(supplier):
    """One report, whose key is the workflow's id and attempt."""
    with running_in(Current("w", 2)):
        assert update_status_through_callback([UPDATED, UPDATED]) == {"status": True, "message": "updated status"}
    assert supplier.reports == [("w/2", 2)]


@pytest.mark.parametrize(
    ("grouped_result", "answer"),
    [
        ([UPDATED, FAILED, UPDATED], NOT_ALL),
        ([FAILED], NOT_ALL),
        (FAILED, NOT_ALL),  # Celery unrolls a group of one
        ([], {"status": False, "message": "no products to update"}),
        ([UPDATED, None], NOT_ALL),  # members that no task of ours returned
        ([UPDATED, "status"], NOT_ALL),
        ([UPDATED, {}], NOT_ALL),
        ([{"status": "false"}], NOT_ALL),
        ([{"status": 1}], NOT_ALL),
        (None, NOT_ALL),
        ("status", NOT_ALL),
        ({}, NOT_ALL),
        (7, NOT_ALL),
    ],
)
def test_nothing_is_reported_unless_every_result_is_true(supplier, grouped_result, answer):
    """No HTTP call, and the message says why."""
    assert update_status_through_callback(grouped_result) == answer
    assert supplier.reports == []


def test_a_group_of_one_is_reported_too(supplier):
    """Celery hands the callback of a group of one the result itself."""
    assert update_status_through_callback(UPDATED)["status"] is True
    assert supplier.reports[0][1] == 1


def test_a_report_that_fails_is_a_false_result(supplier):
    """The callback says what did not work, and raises nothing."""
    supplier.refuses = True
    assert update_status_through_callback([UPDATED]) == {"status": False, "message": "error in making callback"}


def test_outside_a_workflow_the_key_is_the_tasks_own_id(supplier):
    """A redelivered callback has the same id, and so the same key."""
    for _ in range(2):
        update_status_through_callback.apply(args=[[UPDATED]], task_id="callback-id")
    assert supplier.reports == [("callback-id/1", 1)] * 2


@pytest.mark.parametrize("limit", [-1, True, "10", 1.5])
def test_a_limit_that_is_none_is_refused(limit):
    """SQLite would take -1 for no limit and refresh everything."""
    with pytest.raises(ValueError, match="limit"):
        refresh_products_plain(limit)


def test_the_tasks_have_the_articles_names():
    """Routes and publishers know the tasks by these."""
    names = ("update_product_details", "update_status_through_callback", "refresh_products", "refresh_products_plain")
    assert [getattr(products, name).name for name in names] == list(names)
