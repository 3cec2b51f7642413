"""The supplier's app, called as uvicorn calls it."""

import asyncio
import json

import pytest

from demo.errors import StoreError, SupplierError
from demo.product import parse_product
from demo.supplier.app import MOST_BODY_BYTES, Supplier
from demo.supplier.catalogue import Catalogue
from demo.supplier.knobs import Knobs
from demo.supplier.ledger import Ledger


class Api:
    """A client that needs no socket."""

    def __init__(self, app):
        self._app = app

    def __call__(self, method, path, body=b"", headers=()):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            sent.append(message)

        asyncio.run(self._app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send))
        assert dict(sent[0]["headers"])[b"content-length"] == str(len(sent[1]["body"])).encode()
        return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "supplier" / "keys") as ledger:
        yield ledger


@pytest.fixture
def api(own_store, ledger):
    list(own_store.seed([parse_product({"product_id": 1, "brand": "Crème"})]))
    return Api(Supplier(Catalogue(own_store), ledger, Knobs(latency_ms=0, failure_rate=0.0)))


def test_a_product_is_served_as_the_store_has_it(api):
    """The reply is every column of the product."""
    assert api("GET", "/products/1") == (200, parse_product({"product_id": 1, "brand": "Crème"}))


@pytest.mark.parametrize("product_id", ["2", "01", "-1", "1.0", "abc", "", "1/2", "٣", "9" * 40])
def test_an_unknown_product_is_404(api, product_id):
    """What is no product of ours is counted and never an error of the server."""
    assert api("GET", f"/products/{product_id}")[0] == 404
    assert api("GET", "/stats")[1]["not_found"] == 1


def test_a_newly_seeded_product_is_found(api, own_store):
    """A product seeded after the start is looked up in the store."""
    list(own_store.seed([parse_product({"product_id": 2})]))
    assert api("GET", "/products/2")[0] == 200


def test_a_reload_takes_over_changed_details(api, own_store):
    """Seeding someone's own details is not undone by an old catalogue."""
    list(own_store.seed([parse_product({"product_id": 1, "brand": "mine"})]))
    assert api("POST", "/reload") == (200, {"products": 1})
    assert api("GET", "/products/1")[1]["brand"] == "mine"


def test_a_store_that_is_away_is_503_and_not_404(api, own_store, monkeypatch):
    """Not knowing whether there is such a product is not the same as knowing that there is none."""

    def away(product_id):
        raise StoreError

    monkeypatch.setattr(own_store, "details", away)
    assert api("GET", "/products/2")[0] == 503


def test_the_knobs_make_requests_fail_and_are_counted(api):
    """A failure rate of 1 fails every product, and no other request."""
    assert api("PUT", "/knobs", b'{"failure_rate": 1}') == (200, {"latency_ms": 0, "failure_rate": 1.0})
    assert api("GET", "/products/1")[0] == 503
    stats = api("GET", "/stats")[1]
    assert (stats["products_served"], stats["failures_injected"]) == (0, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"slow",
        b"[]",
        b"\xff",
        b'{"latency_ms": -1}',
        b'{"latency_ms": 60001}',
        b'{"latency_ms": true}',
        b'{"latency_ms": "50"}',
        b'{"failure_rate": 1.01}',
        b'{"failure_rate": NaN}',
        b'{"failure_rate": null}',
        b'{"speed": 1}',
        b"[" * 5_000,  # deeper than a parser goes
        b" " * (MOST_BODY_BYTES + 1),
    ],
)
def test_a_bad_knob_is_400_with_a_sentence_and_changes_nothing(api, body):
    """Knobs are refused whole."""
    status, answer = api("PUT", "/knobs", body)
    assert status == 400
    assert answer["error"].endswith(".")
    assert api("PUT", "/knobs", b"{}")[1] == {"latency_ms": 0, "failure_rate": 0.0}


def test_status_reports_are_counted_by_distinct_keys(api):
    """The same key twice is two posts and one status."""
    for key in (b"w/1", b"w/1", b"w/2"):
        assert api("POST", "/status", headers=[(b"idempotency-key", key)])[0] == 200
    stats = api("GET", "/stats")[1]
    assert (stats["status_posts"], stats["distinct_keys"], stats["last_key"]) == (3, 2, "w/2")


@pytest.mark.parametrize("headers", [[], *([(b"idempotency-key", key)] for key in (b"", b"a b", b"\xff", b"x" * 256))])
def test_a_status_report_without_a_key_is_400(api, headers):
    """A report that cannot be told from its repetition is refused and not counted."""
    assert api("POST", "/status", headers=headers)[0] == 400
    assert api("GET", "/stats")[1]["status_posts"] == 0


def test_a_ledger_opened_again_knows_all_keys(tmp_path):
    """What was counted once is counted for good."""
    for key in (b"a/1", b"b/1"):
        with Ledger(tmp_path / "keys") as ledger:
            ledger.add(key)
    with Ledger(tmp_path / "keys") as ledger:
        assert (ledger.posts, len(ledger.distinct), ledger.last) == (2, 2, "b/1")
        with pytest.raises(SupplierError, match="Idempotency-Key"):
            ledger.add(None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/products/1", 405), ("GET", "/knobs", 405), ("GET", "/", 404), ("GET", "/healthz", 200)],
)
def test_each_path_takes_its_own_method(api, method, path, status):
    """Anything else is a 4xx with a sentence."""
    assert api(method, path)[0] == status
