"""Somebody else's project (tests/fork/plain) runs on our workers as it was: its app, its chords, its publishers."""

from __future__ import annotations

import shutil

import pytest
from tests.support import ROOT, Deployment, eventually

PLAIN = ROOT / "tests" / "fork" / "plain"

#: A publisher that has never heard of us: Celery as it comes, and the name of a task and its queue.
STOCK_PUBLISHER = """
from celery import Celery
app = Celery(broker={broker!r}, backend={backend!r})
app.conf.task_routes = {{"shop.total": {{"queue": "invoice_queue"}}}}
app.conf.task_default_queue = "default"
app.conf.task_default_exchange_type = "topic"
app.conf.task_default_routing_key = "task.default"
print(app.send_task("shop.total", args=[[1, 2, 3]]).get(timeout=30), app.send_task("shop.tasks.add", args=[2, 3]).get(timeout=30))
"""


@pytest.fixture
def shop(redis_server, tmp_path):
    """The project on a worker per queue of its own queues.toml."""
    shutil.copy(PLAIN / "config" / "queues.toml", tmp_path)
    deployed = Deployment(redis_server, tmp_path, "shop.celery:app", PLAIN)
    yield deployed
    deployed.close()


@pytest.mark.parametrize("pool", ["threads", "gevent", "prefork", "solo"])
def test_a_plain_chord_runs_unchanged_on_every_pool(shop, pool):
    """chain(group(...), callback), retries and .get() do what Celery documents; only the config line is ours."""
    toml = (shop.folder / "queues.toml").read_text()
    shop.queues(toml.replace('pool = "threads"', f'pool = "{pool}"'))
    shop.start_worker("default")
    shop.start_worker("invoice_queue")
    assert shop.python("import shop.publish") == "9 2"


def test_a_stock_publisher_reaches_our_queues(shop):
    """A web process with stock Celery and its own routes needs nothing of ours."""
    shop.start_worker("default")
    shop.start_worker("invoice_queue")
    code = STOCK_PUBLISHER.format(
        broker=shop.environment["CELERY_BROKER_URL"], backend=shop.environment["CELERY_RESULT_BACKEND"]
    )
    assert shop.python(code, CELERY_BROKER_URL="", CELERY_RESULT_BACKEND="") == "6 5"


def test_each_task_runs_on_the_worker_of_its_queue(shop):
    """While the default worker is busy for good, the other queue's tasks run: they have a worker of their own."""
    shop.queues(
        '[queues.default]\ntasks = ["*"]\npool = "solo"\n\n[queues.invoice_queue]\ntasks = ["shop.total"]\npool = "solo"\n'
    )
    busy, free = shop.start_worker("default"), shop.start_worker("invoice_queue")
    shop.python("import shop.celery; from shop.tasks import slow; slow.delay(60)")
    eventually(lambda: "shop.tasks.slow" in shop.log("default").read_text(), "the default worker to be busy")
    assert (
        shop.python("import shop.celery; from shop.tasks import total; print(total.delay([4, 5]).get(timeout=30))")
        == "9"
    )
    assert busy.pid != free.pid
    assert not any("shop.total" in line and "received" in line for line in shop.log("default").read_text().splitlines())


def test_a_task_module_that_does_not_import_stops_its_own_queue_only(shop):
    """The worker of the queue that imports it exits and names it, with its traceback; the other queue works."""
    (shop.folder / "broken_tasks.py").write_text("from nowhere import nothing\n")
    shop.environment["PYTHONPATH"] += f":{shop.folder}"
    shop.queues(
        '[queues.default]\ntasks = ["*"]\npool = "solo"\n\n'
        '[queues.invoice_queue]\ntasks = ["shop.total"]\nimports = ["broken_tasks"]\npool = "solo"\n'
    )
    shop.start_worker("default")
    with pytest.raises(AssertionError, match="No module named 'nowhere'") as failure:
        shop.start_worker("invoice_queue")
    assert "broken_tasks.py" in str(failure.value)
    assert shop.python("import shop.celery; from shop.tasks import add; print(add.delay(1, 1).get(timeout=30))") == "2"
