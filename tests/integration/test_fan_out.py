"""What a fan-out chooses, and what it holds whatever it chooses: on real workers and a real Redis."""

from __future__ import annotations

import json
import os
import signal

import pytest
from tests.support import eventually, nothing_is_left

QUEUES = '[queues.default]\ntasks = ["*"]\npool = "{pool}"\nconcurrency = 4\ntime_limit = {time_limit}\ndrain = 10\n'


@pytest.mark.parametrize("counted", [True, False])
def test_chunks_are_as_many_as_the_queues_slots_are_worth(deployment, workflow, counted):
    """Four for each of four slots, however the items come; all have their result, in order."""
    deployment.queues(QUEUES.format(pool="gevent", time_limit=30))
    deployment.start_worker()

    ended = workflow(deployment, "spread_freely", count=2000, counted=counted, callback="collect").wait()

    assert (ended["chunk_size"], ended["chunks"], ended["total"]) == (125, 16, 2000)
    assert ended["result"]["results"] == list(range(2000))


def test_items_that_take_long_have_chunks_of_their_own_the_next_time(deployment, workflow):
    """What an item took is known from then on, on every queue that runs it."""
    deployment.queues(QUEUES.format(pool="threads", time_limit=30))
    deployment.start_worker()
    items = [["sleeps", 0.3, n] for n in range(40)]
    first = workflow(deployment, "spread_freely", items=items).wait()
    took = float(deployment.server.client().hget("switchyard:item_seconds", "misbehave"))
    deployment.server.client().hset("switchyard:item_seconds", "misbehave", 300)

    second = workflow(deployment, "spread_freely", items=items).wait()

    assert took >= 0.3
    assert (first["chunk_size"], second["chunk_size"], second["chunks"]) == (3, 1, 40)
    assert second["result"]["results"] == items
    assert 0 < deployment.server.client().ttl("switchyard:item_seconds") <= 604800


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_items_that_wait_run_in_hundreds_and_never_beyond_the_bound(deployment, workflow, pool):
    """Of all chunks in a process together."""
    deployment.queues(QUEUES.format(pool=pool, time_limit=30))
    deployment.start_worker()

    counts = workflow(deployment, "spread_to_count", count=1500).wait()["result"]["results"]

    assert 64 < max(counts) <= 512 + 4


def test_a_number_that_is_asked_for_is_kept(deployment, workflow):
    """Two at once in each of four slots."""
    deployment.queues(QUEUES.format(pool="gevent", time_limit=30))
    deployment.start_worker()

    ended = workflow(deployment, "spread_to_count", count=200, chunk_size=20, concurrency=2).wait()

    assert ended["chunks"] == 10
    assert max(ended["result"]["results"]) <= 4 * 2


def test_a_callback_may_read_its_results_page_by_page(deployment, workflow):
    """It is given no list then, but all results all the same; so it is in the workflow's next attempt."""
    deployment.queues(QUEUES.format(pool="gevent", time_limit=30))
    deployment.start_worker()
    found = {"len": 20_000, "sum": sum(range(20_000)), "last": 19_999, "some": [1000, 1001, 1002]}

    for stream in (True, False):
        started = workflow(deployment, "spread_freely", count=20_000, callback="look_at_results", stream=stream)
        assert started.wait(120)["result"] == {"is a list": not stream, **found}


def test_a_killed_workers_chunk_resumes_only_what_was_not_done(deployment, workflow):
    """What was recorded when it was killed does not begin again, and all have a result."""
    deployment.queues(QUEUES.format(pool="gevent", time_limit=5))
    first = deployment.start_worker()
    items = [["sleeps", 0.5 if n % 5 else 3, n] for n in range(80)]
    started = workflow(deployment, "spread_freely", items=items)
    eventually(lambda: int(started.fields().get("done") or 0) >= 20, "some results to be recorded")

    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    client = deployment.server.client()
    keys = client.scan_iter(f"switchyard:workflow:{started.id}:results:*")
    done = [int(index) for key in keys for index in client.hkeys(key)]
    deployment.start_worker()

    assert started.wait(120)["result"]["results"] == items
    begun = (deployment.folder / "begun").read_text().splitlines()
    assert len(done) >= 20
    assert [begun.count(str(items[index])) for index in done] == [1] * len(done)


def test_nothing_begins_once_a_workflow_is_cancelled(deployment, workflow):
    """However many run at once: those that run end by themselves."""
    deployment.queues(QUEUES.format(pool="gevent", time_limit=30))
    deployment.start_worker()
    started = workflow(deployment, "spread_freely", items=[["sleeps", 1, n] for n in range(2000)])
    begun = deployment.folder / "begun"
    eventually(begun.exists, "items to have begun")

    assert started.cancel().startswith("cancelled")

    broker = deployment.server.client(0)
    eventually(lambda: nothing_is_left(broker), "every chunk to be acknowledged")
    assert begun.read_text().count("\n") < 2000
    assert (
        json.loads(deployment.python(f"from switchyard.workflows import read; print(read({started.id!r}).total)"))
        == 2000
    )
