"""Workflows on real workers and a real Redis: whatever items and callbacks do, a workflow ends, or says why it could not."""

from __future__ import annotations

import json
import os
import signal

import pytest
from tests.support import children, eventually, nothing_is_left

POOLS = ["gevent", "prefork", "threads", "solo"]
QUEUES = '[queues.default]\ntasks = ["*"]\npool = "{pool}"\nconcurrency = 4\ntime_limit = {time_limit}\ndrain = 10\n'


def false(message: str) -> dict[str, object]:
    return {"status": False, "message": message}


@pytest.mark.parametrize("pool", POOLS)
def test_every_item_has_one_result_in_order_whatever_it_does(deployment, workflow, pool):
    """One result per item, in order, errors included, on every pool; the callback gets them all, and the failed are named."""
    deployment.queues(QUEUES.format(pool=pool, time_limit=2))
    deployment.start_worker()
    items = [
        *range(30),
        "raises",
        "exits",
        "hangs",
        "returns a set",
        "returns itself",
        "says false",
        {"a": [None, 1.5]},
    ]

    ended = workflow(deployment, "spread", items=items).wait()

    expected = {
        "raises": false("ValueError: on purpose"),
        "exits": false("SystemExit: 3"),
        "hangs": false("exceeded its time limit of 2 s"),
        "returns a set": false("returned what JSON cannot carry: Object of type set is not JSON serializable"),
        "returns itself": false("returned what JSON cannot carry: Circular reference detected"),
        "says false": false("I say so"),
    }
    assert ended["state"] == "done"
    assert ended["result"]["results"] == [expected.get(item, item) if isinstance(item, str) else item for item in items]
    assert ended["failed_items"] == [[item, result] for item, result in expected.items()]
    assert (ended["total"], ended["done"], ended["failed"]) == (len(items), len(items), 6)


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_items_of_a_chunk_run_at_the_same_time(deployment, workflow, pool):
    """Ten items that each wait for the other nine to have begun can only end if they run at once."""
    deployment.queues(QUEUES.format(pool=pool, time_limit=30))
    deployment.start_worker()

    ended = workflow(
        deployment, "spread", items=[["waits until begun", 10, n] for n in range(10)], chunk_size=10
    ).wait()

    assert ended["failed"] == 0


def test_progress_can_be_read_while_a_workflow_runs_and_its_record_expires(deployment, workflow):
    """While a chunk runs, what it has done is in the record already; every key of the record has an expiry."""
    deployment.queues(QUEUES.format(pool="threads", time_limit=30))
    deployment.start_worker()

    started = workflow(deployment, "spread", items=[*range(5), ["waits for", "the end"]], chunk_size=6)

    eventually(lambda: started.fields().get("done") == "5", "five of six items to be done")
    assert started.fields()["state"] == "running"
    (deployment.folder / "the end").touch()
    started.wait()
    client = deployment.server.client()
    keys = list(client.scan_iter("switchyard:workflow:*"))
    assert len(keys) >= 3
    assert all(0 < client.ttl(key) <= 604800 for key in keys)
    assert client.zcard("switchyard:workflows") == 0


def test_a_workflow_without_items_calls_back_with_an_empty_list(deployment, workflow):
    """Nothing to do is an end like any other."""
    deployment.queues(QUEUES.format(pool="solo", time_limit=5))
    deployment.start_worker()
    assert workflow(deployment, "spread", items=[]).wait()["result"]["results"] == []


@pytest.mark.parametrize(
    ("task", "kwargs", "reason"),
    [
        # the task raises before it fans out
        ("spread_nothing_but_raise", {}, "LookupError: no items today"),
        # the items' source breaks half way through: nothing has run yet, and nothing will
        ("spread_from_a_broken_source", {}, "LookupError: the source broke in the middle"),
        # nobody knows the task
        ("no_such_task", {}, "no worker knows the task 'no_such_task'"),
        # the callback raises, hangs, or does not exist
        (
            "spread",
            {"items": [1], "callback": "collect_badly"},
            "its callback failed: RuntimeError: the callback breaks",
        ),
        ("spread", {"items": [1], "callback": "collect_slowly"}, "its callback failed: exceeded its time limit of 2 s"),
        ("spread", {"items": [1], "callback": "no_such_callback"}, "no task 'no_such_callback' in this worker"),
    ],
)
def test_a_workflow_that_cannot_succeed_says_why(deployment, workflow, task, kwargs, reason):
    """It ends as failed with the reason, instead of waiting for ever."""
    deployment.queues(QUEUES.format(pool="prefork", time_limit=2))
    deployment.start_worker()

    ended = workflow(deployment, task, **kwargs).wait()

    assert ended["state"] == "failed"
    assert reason in ended["reason"]


def test_items_that_kill_their_process_fail_alone(deployment, workflow):
    """A lost prefork child's chunk runs again, what was done is not done again, and each killer is found and named."""
    deployment.queues(QUEUES.format(pool="prefork", time_limit=5))
    deployment.start_worker()
    items = [0, "kills its process", 2, "kills its process", 4, "kills its process", 6]

    ended = workflow(deployment, "spread", items=items, chunk_size=7).wait(180)

    assert ended["state"] == "done"
    assert [item for item, _ in ended["failed_items"]] == ["kills its process"] * 3
    assert all("its worker was lost each time it ran" in result["message"] for _, result in ended["failed_items"])
    assert [result for result in ended["result"]["results"] if isinstance(result, int)] == [0, 2, 4, 6]
    begun = (deployment.folder / "begun").read_text().splitlines()
    # What had ended but was not yet recorded when the first killer came runs once more, and nothing else.
    assert all(begun.count(str(item)) <= 2 for item in (0, 2, 4, 6))


def test_an_item_that_no_alarm_can_interrupt_fails_alone(deployment, workflow):
    """The pool ends its child at the chunk's limit; the item is named, and the callback runs."""
    deployment.queues(QUEUES.format(pool="prefork", time_limit=1))
    deployment.start_worker()

    ended = workflow(deployment, "spread", items=[0, "hangs beyond interruption", 2], chunk_size=3).wait(180)

    assert ended["failed_items"] == [["hangs beyond interruption", false("exceeded its time limit of 1 s")]]
    assert ended["result"]["results"][0] == 0
    assert ended["result"]["results"][2] == 2


def test_a_callback_that_kills_its_process_ends_the_workflow(deployment, workflow):
    """It is called again a bounded number of times, then the workflow says what happened."""
    deployment.queues(QUEUES.format(pool="prefork", time_limit=5))
    deployment.start_worker()

    ended = workflow(deployment, "spread", items=[1], callback="collect_fatally").wait(120)

    assert ended["state"] == "failed"
    assert "its callback was lost 6 times" in ended["reason"]
    assert len((deployment.folder / "called_back").read_text().splitlines()) == 6


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_is_stopped_hands_back_what_it_has_not_begun(deployment, workflow, pool):
    """SIGTERM in mid-chunk: running items finish, the next worker runs the rest, and no item begins twice."""
    deployment.queues(QUEUES.format(pool=pool, time_limit=30))
    first = deployment.start_worker()
    number = 60 if pool == "solo" else 160  # for all are in the middle of it for long, however many run at once
    items = [["sleeps", 0.3, n] for n in range(number)]
    started = workflow(deployment, "spread", items=items, chunk_size=number // 3, concurrency=2)
    begun = deployment.folder / "begun"
    eventually(lambda: begun.exists() and begun.read_text().count("\n") >= 3, "some items to have begun")

    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    assert started.fields()["state"] == "running"
    deployment.start_worker()

    assert started.wait()["result"]["results"] == items
    assert sorted(begun.read_text().splitlines()) == sorted(str(item) for item in items)


SWEEP = "from switchyard.producer import app; app.send_task('switchyard.sweep')"


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_killed_workers_chunks_run_again(deployment, workflow, pool):
    """kill -9 of a whole worker: the sweep, which the clock tells every minute, gives its chunks to the next one."""
    deployment.queues(QUEUES.format(pool=pool, time_limit=1))
    first = deployment.start_worker()
    items = [["sleeps", 0.2, n] for n in range(80)]
    started = workflow(deployment, "spread", items=items, chunk_size=20, concurrency=2)
    eventually(lambda: int(started.fields().get("done", 0)) >= 5, "some results to be recorded")

    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    deployment.start_worker()

    def swept() -> bool:
        deployment.python(SWEEP)
        return started.fields()["state"] == "done"

    eventually(swept, "the sweep to re-drive the workflow", 120)
    assert started.wait()["result"]["results"] == items


def test_a_sweep_does_not_repeat_what_the_last_one_published(deployment, workflow):
    """A long item that was given to a new worker is not taken for lost at every later sweep, and does not fail."""
    deployment.queues(QUEUES.format(pool="threads", time_limit=60))
    started = workflow(deployment, "spread", items=[["sleeps", 6]])
    deployment.start_worker()
    begun = deployment.folder / "begun"
    eventually(begun.exists, "the item to have begun")
    deployment.server.client().zadd("switchyard:workflows", {started.id: 1})
    for _ in range(4):
        deployment.python(SWEEP)

    assert started.wait()["failed"] == 0
    assert begun.read_text().count("\n") <= 2


def test_a_lost_child_makes_no_healthy_item_fail(deployment, workflow):
    """After a redelivery items run one at a time; a chunk that then takes longer than its limit hands the rest back."""
    deployment.queues(QUEUES.format(pool="prefork", time_limit=2))
    worker = deployment.start_worker()
    items = [["sleeps", 0.4, n] for n in range(60)]  # 24 s, many times the limit of one
    started = workflow(deployment, "spread", items=items, chunk_size=60)
    eventually(lambda: int(started.fields().get("done", 0)) >= 1, "the chunk to be under way")
    for child in children(worker.pid):
        os.kill(child, signal.SIGKILL)

    ended = started.wait(120)
    assert ended["failed_items"] == []
    assert ended["result"]["results"] == items


def test_a_start_that_was_redelivered_while_it_stored_items_ends_well(deployment, workflow):
    """Its broker connection cut, Celery delivers the task again: the older one stops quietly, the workflow goes on."""
    deployment.queues(QUEUES.format(pool="threads", time_limit=30))
    deployment.start_worker()
    started = workflow(deployment, "spread_slowly")
    eventually(lambda: started.fields().get("state") == "starting", "the items to be on their way")
    client = deployment.server.client(0)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    ended = started.wait(120)
    assert (ended["state"], ended["total"]) == ("done", 400)


def test_a_start_that_never_fans_out_ends(deployment, workflow):
    """`make start` of a task that is no workflow: done, with that reason, instead of waiting and being started again."""
    deployment.queues(QUEUES.format(pool="prefork", time_limit=5))
    deployment.start_worker()
    ended = workflow(deployment, "misbehave", item=3).wait()
    assert (ended["state"], ended["reason"]) == ("done", "its task ended without fanning out")


@pytest.mark.parametrize("pool", POOLS)
def test_a_callback_runs_once_when_nothing_goes_wrong(deployment, workflow, pool):
    """Many chunks that end at the same time: only one of them sees that all is done."""
    deployment.queues(QUEUES.format(pool=pool, time_limit=30))
    deployment.start_worker()
    runs = [workflow(deployment, "spread", items=list(range(200)), chunk_size=10) for _ in range(4)]
    for run in runs:
        run.wait()
    called = (deployment.folder / "called_back").read_text().splitlines()
    assert sorted(called) == sorted(f"{run.id}/1 200" for run in runs)


def test_a_callback_that_hangs_on_threads_ends_the_workflow_and_frees_its_slot(deployment, workflow):
    """No thread can be interrupted; it is given up, and the worker takes other work."""
    deployment.queues('[queues.default]\ntasks = ["*"]\npool = "threads"\nconcurrency = 1\ntime_limit = 1\n')
    deployment.start_worker()
    hung = workflow(deployment, "spread", items=[1], callback="collect_slowly").wait()
    assert hung["reason"] == "its callback failed: exceeded its time limit of 1 s"
    assert workflow(deployment, "spread", items=[1]).wait()["state"] == "done"


def test_a_flushed_redis_leaves_no_message_that_runs_for_ever(deployment, workflow):
    """The record gone, the messages of its workflow are dropped with a line in the log."""
    deployment.queues(QUEUES.format(pool="threads", time_limit=5))
    started = workflow(deployment, "spread", items=list(range(50)))
    deployment.python(
        "from switchyard.producer import app\n"
        f"for name, args in (('run_chunk', [{started.id!r}, 1, 0]), ('publish_chunks', [{started.id!r}, 1]), ('call_back', [{started.id!r}, 1])):\n"
        "    app.send_task('switchyard.' + name, args=args)"
    )
    deployment.server.client(0).lpop("default")  # the start itself
    deployment.server.client(1).flushdb()
    deployment.start_worker()
    broker = deployment.server.client(0)
    eventually(lambda: nothing_is_left(broker), "every message to be acknowledged")


def test_a_workflow_survives_the_death_of_redis(own_deployment, workflow):
    """kill -9 of Redis in mid-workflow: workers wait for it, and the workflow ends as if nothing had happened."""
    own_deployment.queues(QUEUES.format(pool="threads", time_limit=30))
    own_deployment.start_worker()
    items = [["sleeps", 0.2, n] for n in range(200)]
    started = workflow(own_deployment, "spread", items=items, chunk_size=50, concurrency=2)
    eventually(lambda: int(started.fields().get("done", 0)) >= 5, "some results to be recorded")

    own_deployment.server.kill()
    own_deployment.server.start()

    assert started.wait()["result"]["results"] == items


def test_a_task_that_is_delivered_twice_starts_one_workflow(deployment, workflow):
    """The task's id is the workflow's: the second delivery finds the record, and the callback runs once."""
    deployment.queues(QUEUES.format(pool="threads", time_limit=5))
    started = workflow(deployment, "spread", items=[1, 2, 3])
    client = deployment.server.client(0)
    client.lpush("default", client.lindex("default", 0))

    deployment.start_worker()
    started.wait()
    eventually(lambda: nothing_is_left(client), "both deliveries to be acknowledged")

    assert (deployment.folder / "called_back").read_text().splitlines() == [f"{started.id}/1 3"]


def test_a_task_that_fans_out_twice_must_name_the_second_workflow(deployment, workflow):
    """Two workflows cannot share one task's id; the second call says so and the first is not harmed."""
    deployment.queues(QUEUES.format(pool="solo", time_limit=5))
    deployment.start_worker()

    assert workflow(deployment, "spread_twice").wait()["result"]["results"] == [1]
    assert "gives each its own workflow_id" in (deployment.folder / "second").read_text()


def test_starting_a_workflow_is_one_small_message(deployment, workflow):
    """However many items it will have, a producer publishes one message; the chunks are a worker's business."""
    deployment.queues(QUEUES.format(pool="gevent", time_limit=5))
    started = workflow(deployment, "spread", items=[1])
    client = deployment.server.client(0)
    assert client.llen("default") == 1
    assert len(client.lindex("default", 0)) < 2000
    assert started.fields()["state"] == "waiting"


def test_fan_out_in_a_request_is_refused(deployment):
    """Outside a task it would publish inside a request; the error says what to call instead."""
    deployment.queues(QUEUES.format(pool="solo", time_limit=5))
    said = deployment.python(
        "from project.celery import app\nfrom project.tasks import misbehave, collect\n"
        "from switchyard.workflows import fan_out\nfrom switchyard.errors import WorkflowError\n"
        "try:\n    fan_out(misbehave, [1], callback=collect)\nexcept WorkflowError as exc:\n    print(exc)"
    )
    assert "switchyard.workflows.start(app, 'task_name')" in said


def test_a_broker_that_is_away_takes_no_workflow_and_keeps_nothing(own_deployment):
    """The producer says so in a sentence, at once."""
    own_deployment.queues(QUEUES.format(pool="solo", time_limit=5))
    own_deployment.server.kill()
    said = own_deployment.python(
        "from switchyard.producer import app\nfrom switchyard.workflows import start\nfrom switchyard.errors import WorkflowError\n"
        "try:\n    start(app, 'spread', items=[1])\nexcept WorkflowError as exc:\n    print(exc)"
    )
    assert "nothing was started" in said
    own_deployment.server.start()


def test_the_sweep_publishes_again_what_a_lost_message_should_have_done(deployment, workflow):
    """A message that vanished from Redis for good: the sweep finds the workflow stalled and re-drives it."""
    deployment.queues(QUEUES.format(pool="threads", time_limit=1))
    started = workflow(deployment, "spread", items=list(range(25)))
    worker = deployment.start_worker()
    started.wait()
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    # As a kill between kombu's BRPOP and its record leaves it: two chunks without results, and no message for them.
    client = deployment.server.client()
    client.delete(f"switchyard:workflow:{started.id}:results:0", f"switchyard:workflow:{started.id}:results:2")
    client.hset(f"switchyard:workflow:{started.id}", mapping={"state": "running", "done": 10, "joins": 0, "result": ""})
    client.zadd("switchyard:workflows", {started.id: 1})

    deployment.start_worker()
    deployment.python(SWEEP)

    assert started.wait()["result"]["results"] == list(range(25))


def test_every_log_line_of_a_workflow_carries_its_id(deployment, workflow):
    """Item, chunk and callback: all lines of the corridor that a task wrote can be found by the workflow's id."""
    deployment.queues(QUEUES.format(pool="threads", time_limit=5))
    deployment.start_worker()
    started = workflow(deployment, "spread", items=[1, "raises"])
    started.wait()

    lines = [json.loads(line) for line in deployment.log().read_text().splitlines() if line.startswith("{")]
    by_event = {line["event"]: line for line in lines}
    for event in ("workflow_started", "item_raised", "workflow_done"):
        assert by_event[event]["workflow_id"] == started.id
        assert by_event[event]["queue"] == "default"
        assert by_event[event]["task_id"]
    assert "ValueError: on purpose" in by_event["item_raised"]["exception"]


AGED = """
from switchyard.producer import app
from switchyard.workflows import publishing, record
app.set_default()
client, key = record.client(), record.meta_key({id!r})
for _ in range(3):
    publishing.again(record.read({id!r}), patience_s=3600)
"""


def test_a_start_that_waits_for_hours_is_not_published_at_every_sweep(deployment, workflow):
    """Its queue is long, and its message may still be in it: else a backlog would feed itself."""
    deployment.queues('[queues.default]\ntasks = ["*"]\nimports = ["project.tasks"]\n')
    waiting = workflow(deployment, "spread", items=[1])
    client = deployment.server.client()
    long_ago = client.time()[0] - 7200
    client.hset(f"switchyard:workflow:{waiting.id}", "updated", long_ago)
    client.zadd("switchyard:workflows", {waiting.id: long_ago})
    deployment.python(AGED.format(id=waiting.id))
    # Its own message, and one more after two hours in vain.
    assert deployment.server.client(0).llen("default") == 2
