"""Cancelled workflows on real workers and a real Redis: nothing of one starts any more, in whatever phase it was, ever again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.calling import Door, event
from tests.support import ROOT, Deployment, eventually, nothing_is_left

POOLS = ["gevent", "prefork", "threads", "solo"]
QUEUES = (
    '[queues.default]\ntasks = ["*"]\nimports = ["project.tasks"]\npool = "{pool}"\nconcurrency = 4\ntime_limit = 60\n'
)
RULES = '[events."thing.happened"]\nworkflow = "spread"\nparameters = { items = "items" }\n'


def begun(deployment: Deployment) -> list[str]:
    """What has begun, in order."""
    file = deployment.folder / "begun"
    return file.read_text().splitlines() if file.exists() else []


def called_back(deployment: Deployment) -> list[str]:
    file = deployment.folder / "called_back"
    return file.read_text().splitlines() if file.exists() else []


def until_nothing_is_left(deployment: Deployment) -> None:
    """Until every message was acknowledged: nothing can begin any more."""
    client = deployment.server.client(0)
    eventually(lambda: nothing_is_left(client), "every message to be acknowledged")


def is_cancelled(fields: dict[str, str]) -> bool:
    return (
        fields["state"] == "cancelled"
        and fields["reason"].startswith("cancelled by a test at 2")
        and not fields.get("result")
    )


# In each phase


@pytest.mark.parametrize("task", ["spread", "misbehave"])
def test_what_waits_is_never_started_by_a_worker_that_comes_later(deployment, workflow, task):
    """Its message is taken and acknowledged, and its task not called; so it is with a task that is a workflow by itself."""
    deployment.queues(QUEUES.format(pool="threads"))
    kwargs = {"items": [1, 2]} if task == "spread" else {"item": 1}
    waiting = workflow(deployment, task, **kwargs)
    waiting.cancel()

    deployment.start_worker()
    other = workflow(deployment, "spread", items=["other"])

    assert other.wait()["state"] == "done"
    until_nothing_is_left(deployment)
    assert is_cancelled(waiting.fields())
    assert begun(deployment) == ["other"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_start_that_is_reserved_behind_others_is_not_started(deployment, workflow, pool):
    """Whatever the pool: the worker asks right before it would run it."""
    deployment.queues(QUEUES.format(pool=pool).replace("concurrency = 4", "concurrency = 1"))
    deployment.start_worker()
    deployment.send("gate", "first")
    eventually(lambda: begun(deployment) == ["first"], "the only slot to be busy")
    waiting = workflow(deployment, "spread", items=[1])
    waiting.cancel()

    (deployment.folder / "open_").touch()

    until_nothing_is_left(deployment)
    assert begun(deployment) == ["first"]
    assert is_cancelled(waiting.fields())


def test_storing_of_items_stops_and_nothing_runs(deployment, workflow):
    """The task that fans out finds at its next page that there is nobody to store for."""
    deployment.queues(QUEUES.format(pool="threads"))
    deployment.start_worker()
    started = workflow(deployment, "spread_slowly")
    eventually(lambda: started.fields().get("state") == "starting", "the items to be on their way")

    started.cancel()

    until_nothing_is_left(deployment)
    assert is_cancelled(started.fields())
    assert not started.fields().get("total")
    assert begun(deployment) == []


@pytest.mark.parametrize("pool", POOLS)
def test_items_that_have_not_begun_never_do(deployment, workflow, pool):
    """Chunks that run stop between two items, those that wait are dropped, and the callback is not run."""
    deployment.queues(QUEUES.format(pool=pool))
    deployment.start_worker()
    started = workflow(
        deployment, "spread", items=[["sleeps", 0.3, n] for n in range(600)], chunk_size=100, concurrency=2
    )
    eventually(lambda: len(begun(deployment)) >= 3, "some items to have begun")

    started.cancel()
    # What has ended is recorded twice a second: by now perhaps nothing.
    done, had_begun = started.fields().get("done"), len(begun(deployment))

    until_nothing_is_left(deployment)
    assert is_cancelled(started.fields())
    # At most what runs at once, and what follows it until each chunk has asked again.
    assert len(begun(deployment)) - had_begun < 100 < 600 - had_begun
    assert started.fields().get("done") == done
    assert called_back(deployment) == []
    client = deployment.server.client()
    assert client.zcard("switchyard:workflows") == 0
    assert all(0 < client.ttl(key) <= 604800 for key in client.scan_iter("switchyard:workflow:*"))


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_a_chunk_whose_items_take_long_looks_up_from_them(deployment, workflow, pool):
    """Nothing is recorded meanwhile; it asks all the same, and no item begins when those that run have ended."""
    deployment.queues(QUEUES.format(pool=pool))
    deployment.start_worker()
    items = [["waits for", "the end", n] for n in range(20)]
    started = workflow(deployment, "spread", items=items, chunk_size=20, concurrency=3)
    eventually(lambda: len(begun(deployment)) == 3, "three items to run")

    started.cancel()
    client = deployment.server.client()

    def looks() -> int:
        return int(client.info("commandstats")["cmdstat_hmget"]["calls"])

    # A worker's keeper asks once a second, the chunk twice.
    before = looks()
    eventually(lambda: looks() >= before + 6, "the chunk to have looked after that")
    (deployment.folder / "the end").touch()

    until_nothing_is_left(deployment)
    assert len(begun(deployment)) == 3
    assert started.fields().get("done", "0") == "0"


def test_the_result_of_a_callback_that_runs_already_is_not_stored(deployment, workflow):
    """It cannot be taken back what it does; but the workflow was cancelled, and stays so."""
    deployment.queues(QUEUES.format(pool="prefork"))
    deployment.start_worker()
    started = workflow(deployment, "spread", items=[1, 2], callback="collect_later")
    eventually(lambda: called_back(deployment) == ["2"], "the callback to run")

    started.cancel()
    (deployment.folder / "open").touch()

    until_nothing_is_left(deployment)
    assert called_back(deployment) == ["2", "ended"]
    assert is_cancelled(started.fields())


@pytest.mark.parametrize("phase", ["starting", "running"])
def test_a_workflow_of_92331_items_ends_at_once(deployment, workflow, phase):
    """While it stores, and while it publishes and runs: its state, and then everything that was on its way."""
    deployment.queues(QUEUES.format(pool="gevent"))
    deployment.start_worker()
    started = workflow(deployment, "spread_many", count=92_331)
    eventually(lambda: started.fields().get("state") in (phase, "running"), f"it to be {phase}")

    started.cancel()

    assert is_cancelled(started.fields())
    until_nothing_is_left(deployment)
    assert int(started.fields().get("done", 0)) < 92_331
    assert not started.fields().get("result")


# For good


def test_a_restart_brings_nothing_back(deployment, workflow):
    """Chunks that a stopped worker has given back, and those that still waited, are dropped by the next one."""
    deployment.queues(QUEUES.format(pool="prefork"))
    worker = deployment.start_worker()
    started = workflow(deployment, "spread", items=[["sleeps", 0.3, n] for n in range(400)], chunk_size=20)
    eventually(lambda: len(begun(deployment)) >= 3, "some items to have begun")
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    known = begun(deployment)
    assert deployment.server.client(0).llen("default") >= 10

    started.cancel()
    deployment.start_worker()

    until_nothing_is_left(deployment)
    assert begun(deployment) == known
    assert is_cancelled(started.fields())


def test_a_killed_worker_that_is_replaced_goes_on_with_nothing(deployment, workflow):
    """Its messages are back after a lease, and are dropped."""
    deployment.environment["BROKER_LEASE"] = "5"
    deployment.queues(QUEUES.format(pool="prefork"))
    worker = deployment.start_worker()
    started = workflow(deployment, "spread", items=[["sleeps", 0.3, n] for n in range(400)], chunk_size=20)
    eventually(lambda: len(begun(deployment)) >= 3, "some items to have begun")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    known = begun(deployment)

    started.cancel()
    deployment.start_worker()

    until_nothing_is_left(deployment)
    assert begun(deployment) == known
    assert is_cancelled(started.fields())


def test_the_sweep_brings_no_cancelled_workflow_back_to_life(deployment, workflow):
    """Not even one that is still listed as open, as a kill in the wrong moment may leave it."""
    deployment.queues(QUEUES.format(pool="threads"))
    started = [workflow(deployment, "spread", items=[1]), workflow(deployment, "spread", items=[2])]
    for each in started:
        each.cancel()
    deployment.server.client(0).delete("default")
    client = deployment.server.client()
    client.zadd("switchyard:workflows", {each.id: 1 for each in started})
    deployment.start_worker()

    deployment.python("from switchyard.producer import app; app.send_task('switchyard.sweep')")

    eventually(lambda: client.zcard("switchyard:workflows") == 0, "the sweep to have seen them")
    until_nothing_is_left(deployment)
    assert begun(deployment) == []
    assert all(is_cancelled(each.fields()) for each in started)


def test_a_server_at_its_memory_limit_still_cancels(own_deployment, workflow):
    """What has filled it may be the very workflow."""
    own_deployment.queues(QUEUES.format(pool="solo"))
    waiting = workflow(own_deployment, "spread", items=[1])
    own_deployment.server.client().config_set("maxmemory", "1mb")
    assert waiting.cancel().startswith("cancelled")


# Asked in other ways


def test_cancelling_twice_is_one_end_and_an_ended_workflow_is_refused(deployment, workflow):
    """The first who did it is told; what is done or failed stays so."""
    deployment.queues(QUEUES.format(pool="solo"))
    waiting = workflow(deployment, "spread", items=[1])
    first = waiting.cancel()
    updated = waiting.fields()["updated"]
    assert first.startswith("cancelled 1 cancelled by a test at ")
    assert waiting.cancel() == first
    assert waiting.fields()["updated"] == updated

    deployment.start_worker()
    for task, state in (("spread", "done"), ("spread_nothing_but_raise", "failed")):
        ended = workflow(deployment, task, **({"items": [1]} if task == "spread" else {}))
        ended.wait()
        assert (
            ended.cancel() == f"refused: Workflow {ended.id} has ended already, as {state}; there is nothing to cancel."
        )
        assert ended.fields()["state"] == state


def switchyard(deployment: Deployment, *arguments: str) -> tuple[int, str]:
    """What a `make` target calls; its exit code and all that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "switchyard", *arguments], env={**deployment.environment, "RUNTIME": "local"}, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_whoever_follows_a_workflow_is_told_that_it_was_cancelled(deployment, workflow):
    """`make start` ends with the sentence and exit code 1, and so does `make workflow` later."""
    deployment.queues(QUEUES.format(pool="solo"))
    following = subprocess.Popen(
        [sys.executable, "-m", "switchyard", "start", "spread", "items=[1]"],
        env={**deployment.environment, "RUNTIME": "local"}, cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    client = deployment.server.client()
    eventually(lambda: client.zcard("switchyard:workflows:all") == 1, "it to be started")
    [id_] = client.zrange("switchyard:workflows:all", 0, -1)

    code, said = switchyard(deployment, "cancel", id_)

    assert code == 0
    assert f"spread {id_} was cancelled by `make cancel` at 2" in said
    shown, _ = following.communicate(timeout=60)
    assert following.returncode == 1
    assert shown.splitlines()[-1].startswith("The workflow was cancelled by `make cancel` at 2")
    code, said = switchyard(deployment, "workflow", id_)
    assert code == 1
    assert "The workflow was cancelled by `make cancel` at 2" in said
    assert switchyard(deployment, "cancel", "nobody")[0] == 1


def told(door: Door, number: int, items: list[Any]) -> str:
    """The workflow of an event."""
    return str(door.tell(event(number, data={"items": items})).json["workflow"])


def test_by_http_a_workflow_is_cancelled_as_by_hand(deployment, workflow):
    """200 with its record, again too; 409 for one that has ended, 404 for one that there is not, 401 for nobody."""
    deployment.queues(QUEUES.format(pool="threads"))
    deployment.events(RULES)
    door = Door(deployment)
    id_ = told(door, 1, [1])
    path = f"/v1/workflows/{id_}"
    assert door.ask("DELETE", path, token="wrong").status == 401
    assert door.get(path).json["state"] == "waiting"

    answer = door.ask("DELETE", path)

    assert (answer.status, answer.json["state"]) == (200, "cancelled")
    assert answer.json["reason"].startswith("cancelled by alice at 2")
    assert answer.json == door.get(path).json == door.ask("DELETE", path, token="carols-token").json
    assert [each["id"] for each in door.get("/v1/workflows?state=cancelled").json["workflows"]] == [id_]

    deployment.start_worker()
    ended = workflow(deployment, "spread", items=["ended"])
    ended.wait()
    refused = door.ask("DELETE", f"/v1/workflows/{ended.id}")
    assert (refused.status, refused.headers["content-type"]) == (409, "application/problem+json")
    assert "has ended already, as done" in refused.json["detail"]
    for unknown in ("nope", f"{id_}:items"):
        assert door.ask("DELETE", f"/v1/workflows/{unknown}").status == 404
    [line] = door.lines("workflow_cancelled")
    assert (line["workflow_id"], line["caller"]) == (id_, "alice")


def test_an_event_that_was_accepted_and_cancelled_is_never_published(deployment):
    """Nor is it when it is told again: it is the same event."""
    deployment.queues(QUEUES.format(pool="threads"))
    deployment.events(RULES)
    door = Door(deployment)
    cancelled, other = told(door, 1, ["cancelled"]), told(door, 2, ["other"])
    client = deployment.server.client()

    door.ask("DELETE", f"/v1/workflows/{cancelled}")
    assert client.zrange("switchyard:outbox", 0, -1) == [other]
    # As if the starter had read the outbox just before.
    client.zadd("switchyard:outbox", {cancelled: 0})
    deployment.start("consumer")
    eventually(lambda: client.zcard("switchyard:outbox") == 0, "the outbox to be empty")

    assert deployment.server.client(0).llen("default") == 1
    deployment.start_worker()
    eventually(lambda: door.get(f"/v1/workflows/{other}").json.get("state") == "done", "the other to end")
    again = door.tell(event(1, data={"items": ["cancelled"]})).json
    assert (again["workflow"], again["state"]) == (cancelled, "repeated")
    until_nothing_is_left(deployment)
    assert begun(deployment) == ["other"]
    assert door.get(f"/v1/workflows/{cancelled}").json["state"] == "cancelled"


def test_both_steps_of_a_report_are_cancelled(deployment, workflow):
    """Partitions that wait are not aggregated, and no artefact is made."""
    deployment.queues(
        '[defaults]\npool = "prefork"\nconcurrency = 1\n[reports.trials]\nmodule = "project.reports.trials"\n'
    )
    deployment.start_worker("trials_report_queue")
    started = workflow(deployment, "reports.trials", partitions=20)
    broker = deployment.server.client(0)
    eventually(lambda: broker.llen("trials_aggregator_queue") == 20, "its partitions to be published")

    started.cancel()
    deployment.start_worker("trials_aggregator_queue")

    queues = ("trials_aggregator_queue", "trials_report_queue")
    eventually(lambda: not any(map(broker.llen, queues)) and not broker.hlen("unacked"), "every message to be taken")
    assert not (deployment.folder / "aggregated").exists()
    assert not (deployment.folder / "state" / "artefacts").exists()
    assert is_cancelled(started.fields())


def test_a_worker_that_cannot_ask_runs_the_task(own_deployment):
    """A consumer that waited for Redis would wait with all its other work; `fan_out` asks again."""
    own_deployment.queues(QUEUES.format(pool="solo"))
    own_deployment.server.kill()
    said = own_deployment.python("from switchyard.workflows import cancelling; print(cancelling.is_cancelled('an-id'))")
    assert said.splitlines()[-1] == "False"
    own_deployment.server.start()


def test_a_single_task_is_revoked_by_celerys_own_means(deployment):
    """As Celery documents it; nothing of ours is asked for a task that is no workflow's start."""
    deployment.queues(QUEUES.format(pool="threads").replace("concurrency = 4", "concurrency = 1"))
    deployment.start_worker()
    deployment.send("gate", "first")
    eventually(lambda: begun(deployment) == ["first"], "the only slot to be busy")
    deployment.python(
        "from switchyard.producer import app\n"
        "app.send_task('gate', args=['revoked'], queue='default', task_id='an-id')\n"
        "app.send_task('gate', args=['other'], queue='default')\n"
        "app.control.revoke('an-id')"
    )
    eventually(lambda: "revoked" in deployment.log().read_text(), "the worker to have heard it")

    (deployment.folder / "open_").touch()

    until_nothing_is_left(deployment)
    assert begun(deployment) == ["first", "other"]


def test_every_step_of_an_end_is_in_the_log(deployment, workflow):
    """A chunk that stops says so, with its workflow's id."""
    deployment.queues(QUEUES.format(pool="threads"))
    deployment.start_worker()
    started = workflow(
        deployment, "spread", items=[["sleeps", 0.3, n] for n in range(200)], chunk_size=200, concurrency=2
    )
    eventually(lambda: len(begun(deployment)) >= 3, "some items to have begun")
    started.cancel()
    until_nothing_is_left(deployment)
    lines = [json.loads(line) for line in deployment.log().read_text().splitlines() if line.startswith("{")]
    [line] = [line for line in lines if line["event"] == "chunk_of_ended_workflow_stopped"]
    assert (line["workflow_id"], line["chunk"]) == (started.id, 0)
