"""The supplier as a process of its own."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3
from tests.integration.demo.processes import run_python, wait_for

from demo.errors import SupplierError
from demo.supplier_client import SupplierClient, supplier_client


def test_a_product_travels_from_the_store_through_http_to_the_client(supplier):
    """The client gets exactly the product that the store holds."""
    assert supplier_client().product(7)["brand"] == "National"
    assert supplier.stats()["products_served"] == 1


def test_an_unknown_product_and_an_injected_failure_are_errors_of_the_client(supplier):
    """404 and 503 are the supplier's answers, and are not asked for twice."""
    with pytest.raises(SupplierError, match="404"):
        supplier_client().product(999_999)
    supplier.request("PUT", "/knobs", json={"failure_rate": 1})
    with pytest.raises(SupplierError, match="503"):
        supplier_client().product(7)
    stats = supplier.stats()
    assert (stats["not_found"], stats["failures_injected"], stats["products_served"]) == (1, 1, 0)


def test_a_killed_supplier_forgets_no_key(supplier):
    """Keys that were answered for are there after a kill -9."""
    for key in ("w/1", "w/1", "v/1"):
        supplier_client().report_status(key, 300)
    supplier.kill()
    supplier.start()
    stats = supplier.stats()
    assert (stats["status_posts"], stats["distinct_keys"], stats["last_key"]) == (3, 2, "v/1")


def test_a_restarted_supplier_costs_a_wait_and_not_the_product(supplier):
    """A connection that died with the old process is not the product's fault."""
    client = supplier_client()
    client.product(1)
    supplier.kill()
    supplier.start()
    assert client.product(2)["product_id"] == 2


def test_a_status_report_is_never_repeated_behind_the_callers_back():
    """A POST that got no answer is sent once: whether to say it again is the caller's to decide."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        client = SupplierClient(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with ThreadPoolExecutor(1) as pool:
            report = pool.submit(client.report_status, "w/1", 1)
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()
            with pytest.raises(SupplierError, match="did not answer POST /status"):
                report.result()
        listener.settimeout(1)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_an_answer_that_is_another_product_or_no_json_is_an_error(supplier, monkeypatch):
    """What the supplier says is checked before it is stored."""
    client = supplier_client()
    for reply in (b"<html>", b"[]", b'{"product_id": 8}', b'{"product_id": 7, "brand": 1}'):
        monkeypatch.setattr(client, "_get", lambda _, reply=reply: reply)
        with pytest.raises(Exception, match=r"not JSON|something else|brand"):
            client.product(7)


def test_a_port_in_use_is_one_sentence_and_exit_code_1(supplier):
    """No traceback: the port and the variable to change."""
    second = run_python("-m", "demo.supplier")
    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        f"The supplier did not start. Port {supplier.port} is in use. Set SUPPLIER_PORT to a free one."
    ]


def test_it_listens_on_the_loopback_only_and_ends_when_told(supplier):
    """SIGTERM ends it, open connections or not."""
    supplier.request("GET", "/healthz")
    supplier.process.send_signal(signal.SIGTERM)
    wait_for(lambda: supplier.process.poll() is not None, "the supplier's end")
    with pytest.raises(urllib3.exceptions.HTTPError):
        supplier.request("GET", "/healthz")


def test_seeding_while_it_runs_changes_what_it_serves(supplier, tmp_path):
    """The seed tells the supplier, lest the next refresh undo the new details."""
    path = tmp_path / "mine.csv"
    path.write_text("product_id,brand\n1,Mine\n9001,Mine\n")
    script = run_python("scripts/seed_products.py", "--file", str(path))
    assert (script.returncode, script.stdout) == (0, "kept 2, refused 0\n")
    assert "The supplier now serves 301 products." in script.stderr
    assert supplier_client().product(1)["brand"] == "Mine"
    assert supplier_client().product(9001)["brand"] == "Mine"
