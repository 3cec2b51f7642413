"""One store, many processes and greenlets, SQLite and PostgreSQL."""

import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from tests.integration.demo.processes import run_python
from tests.support import missing

from demo.product import parse_product
from demo.store import Store, store

SAVE_ALL = """
{patch}
import sys
from concurrent.futures import ThreadPoolExecutor
from demo.store import store
ids = store().product_ids()
products = list(store().all_details())
with ThreadPoolExecutor(60) as pool:
    list(pool.map(lambda product: store().save(product, sys.argv[1]), products))
"""
FORK = """
import os, sys
from demo.store import store
from demo.supplier_client import supplier_client
store().product_ids(); parent = store(), supplier_client()
child = os.fork()
if child == 0:
    store().save(store().details(1), "child")
    os._exit(0 if store() is not parent[0] and supplier_client() is not parent[1] else 1)
_, status = os.waitpid(child, 0)
store().save(store().details(2), "parent")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture
def postgres_url():
    """A schema of its own in the database TEST_POSTGRES_URL names."""
    url = os.environ.get("TEST_POSTGRES_URL")
    if not url:
        missing("a PostgreSQL database, named by TEST_POSTGRES_URL,")
    schema = f"demo_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    yield f"{url}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.mark.parametrize("patch", ["", "from gevent import monkey; monkey.patch_all()"], ids=["threads", "greenlets"])
def test_many_callers_in_two_processes_save_every_product(seeded, patch):
    """Nothing is lost and nobody waits for ever, whether callers are threads or greenlets."""
    script = SAVE_ALL.format(patch=patch)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: run_python("-c", script, "w"), range(2)))
    assert [outcome.stderr for outcome in outcomes] == ["", ""]
    assert seeded.counts("w") == (300, 300)


def test_processes_that_open_a_new_store_together_all_succeed():
    """The first process to come creates the file and the table; the others use them."""
    script = "from demo.store import store; store().product_ids()"
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda _: run_python("-c", script), range(6)))
    assert [outcome.stderr for outcome in outcomes] == [""] * 6


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="forking is for Linux workers")
def test_a_forked_process_uses_a_store_and_a_client_of_its_own(seeded):
    """A prefork child never talks over its parent's connections."""
    outcome = run_python("-c", FORK)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert seeded.counts("child") == (300, 1)
    assert seeded.counts("parent") == (300, 1)


def test_postgresql_keeps_the_same_promises(postgres_url, monkeypatch):
    """Seed, save, refuse, count and order, by URL alone."""
    first, second = Store(postgres_url), Store(postgres_url)
    assert list(first.seed([parse_product({"product_id": 2, "brand": "old"}), parse_product({"product_id": 1})])) == [2]
    with ThreadPoolExecutor(20) as pool:
        saves = [
            pool.submit(which.save, parse_product({"product_id": number, "brand": "x"}), "w")
            for number in range(1, 51)
            for which in (first, second)
        ]
        refused = pool.submit(first.save, parse_product({"product_id": 99}) | {"manufacturer_id": "no number"}, "w")
    assert not any(save.exception() for save in saves)
    assert "PostgreSQL" not in str(refused.exception())
    assert "postgresql database" in str(refused.exception())
    list(first.seed([parse_product({"product_id": 2, "brand": "new"})]))
    assert second.counts("w") == (50, 50)
    assert second.details(2)["brand"] == "new"
    assert second.product_ids(3) == [1, 2, 3]
    first.close()
    second.close()


def test_postgresql_serves_greenlets_in_two_processes(postgres_url, monkeypatch):
    """Under gevent a save waits without stopping the others, and no two processes deadlock."""
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    list(store().seed(parse_product({"product_id": number}) for number in range(1, 301)))
    script = SAVE_ALL.format(patch="from gevent import monkey; monkey.patch_all()")
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: run_python("-c", script, "w"), range(2)))
    assert [outcome.stderr for outcome in outcomes] == ["", ""]
    assert store().counts("w") == (300, 300)
