"""A real supplier over a real store, each test with its own."""

import socket

import pytest
from tests.integration.demo.processes import SupplierProcess

from demo.product import parse_product
from demo.settings import demo_settings
from demo.store import Store, _store_of
from demo.supplier_client import _client_of
from switchyard.settings import settings

CACHED = (settings, demo_settings, _store_of, _client_of)
PRODUCTS = 300


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'products.db'}")
    monkeypatch.setenv("SUPPLIER_PORT", str(port))
    monkeypatch.setenv("SUPPLIER_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("SUPPLIER_LATENCY_MS", "0")
    monkeypatch.setenv("SUPPLIER_FAILURE_RATE", "0")
    for cached in CACHED:
        cached.cache_clear()
    yield port
    if _store_of.cache_info().currsize:
        from demo.store import store

        store().close()
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture
def seeded(tmp_path):
    opened = Store(f"sqlite:///{tmp_path / 'products.db'}")
    list(opened.seed(parse_product({"product_id": number, "brand": "National"}) for number in range(1, PRODUCTS + 1)))
    yield opened
    opened.close()


@pytest.fixture
def supplier(environment, seeded):
    running = SupplierProcess(environment)
    running.start()
    yield running
    running.kill()
