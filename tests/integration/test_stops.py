"""A stop loses nothing and runs nothing twice: what ends within `drain` is done, the rest goes back at once or is waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from tests.support import PATIENCE, Deployment, eventually

QUEUE = """
[queues.{name}]
tasks = ["{tasks}"]
imports = ["project.tasks"]
pool = "{pool}"
concurrency = {slots}
time_limit = 60
drain = {drain}
"""


def queues(drain: float, pool: str = "prefork", name: str = "default", slots: int = 2) -> str:
    tasks = "*" if name == "default" else f"{name}.*"
    return QUEUE.format(name=name, tasks=tasks, pool=pool, slots=slots, drain=drain)


def noted(deployment: Deployment, name: str) -> list[str]:
    file = deployment.folder / name
    return file.read_text().splitlines() if file.exists() else []


def stop(worker: subprocess.Popen[bytes]) -> float:
    """The seconds it took, the interpreter's own end included."""
    asked = time.monotonic()
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE) == 0
    return time.monotonic() - asked


def nothing_is_held(deployment: Deployment) -> bool:
    return deployment.server.client(0).hlen("unacked") == 0


def test_a_prefork_worker_hands_back_what_outlives_its_drain(deployment: Deployment) -> None:
    """At once, with what it had only reserved; what ended in time is done. A second signal changes nothing."""
    deployment.queues(queues(drain=4))
    worker = deployment.start_worker()
    tasks = [("short", 2), ("long", 10), ("reserved", 0), ("waiting", 0)]
    send = "from switchyard.producer import app\nfor task in {}: app.send_task('last', args=task)"
    deployment.python(send.format(tasks))
    eventually(lambda: sorted(noted(deployment, "begun")) == ["long", "short"], "two to begin")
    os.kill(worker.pid, signal.SIGTERM)
    took = stop(worker)
    assert 3 < took < 10, "not at the end of drain"
    assert noted(deployment, "ended") == ["short"]
    assert nothing_is_held(deployment)
    assert deployment.server.client(0).llen("default") == 3

    deployment.start_worker()
    eventually(lambda: len(noted(deployment, "ended")) == 4, "the rest to run on the next worker")
    assert sorted(noted(deployment, "begun")) == ["long", "long", "reserved", "short", "waiting"]
    eventually(lambda: nothing_is_held(deployment), "all to be acknowledged")
    assert deployment.server.client(0).llen("default") == 0


def test_a_prefork_worker_whose_tasks_end_in_time_does_not_wait_for_the_end_of_its_drain(
    deployment: Deployment,
) -> None:
    """Nor does an idle one."""
    deployment.queues(queues(drain=600))
    for seconds in (None, 2):
        worker = deployment.start_worker()
        if seconds:
            deployment.send("last", "short", seconds)
            eventually(lambda: noted(deployment, "begun"), "it to begin")
        stop(worker)
    assert noted(deployment, "ended") == ["short"]
    assert nothing_is_held(deployment)


def test_an_item_that_is_handed_back_again_and_again_is_not_taken_for_one_that_kills_its_worker(
    deployment: Deployment, workflow
) -> None:
    """More often than a chunk may be lost. It ends when it has begun as often as that; the item before it, once."""
    stops = 7
    deployment.queues(queues(drain=0))
    worker, started = deployment.start_worker(), None
    for begins in range(2, stops + 2):
        started = started or workflow(
            deployment, "spread", items=["quick", ["waits until begun", stops + 2]], chunk_size=2
        )
        eventually(lambda begins=begins: len(noted(deployment, "begun")) >= begins, "the item to begin")
        stop(worker)
        worker = deployment.start_worker()
    done = started.wait()
    assert (done["state"], done["failed"], done["total"]) == ("done", 0, 2)
    assert noted(deployment, "begun").count("quick") == 1


def test_a_start_and_a_callback_that_are_handed_back_fail_no_workflow(deployment: Deployment, workflow) -> None:
    """The start runs again under its id; the callback's claim is not counted."""
    deployment.queues(queues(drain=0))
    worker = deployment.start_worker()
    fanning_out = workflow(deployment, "spread_slowly")
    calling_back = workflow(deployment, "spread", items=[1], callback="collect_slowly")
    eventually(lambda: calling_back.fields().get("state") == "joining", "the callback to run")
    stop(worker)
    assert fanning_out.fields()["state"] in ("waiting", "starting")
    assert (calling_back.fields()["state"], calling_back.fields()["joins"]) == ("joining", "0")

    deployment.start_worker()
    assert fanning_out.wait()["state"] == "done"
    eventually(lambda: calling_back.fields()["joins"] == "1", "the callback to run again")


def test_a_worker_that_cannot_hand_back_waits_for_its_tasks_beyond_drain(deployment: Deployment) -> None:
    """gevent, threads, solo: killed, their messages would be back only after the visibility timeout."""
    pools = ("gevent", "threads", "solo")
    deployment.queues("".join(queues(1, pool, pool, slots=1 if pool == "solo" else 2) for pool in pools))
    workers = deployment.start_workers(*pools)
    for pool in pools:
        deployment.send("last", pool, 6, queue=pool)
    eventually(lambda: len(noted(deployment, "begun")) == len(pools), "all to begin")
    for worker in workers.values():
        os.kill(worker.pid, signal.SIGTERM)
    assert [worker.wait(timeout=PATIENCE) for worker in workers.values()] == [0, 0, 0]
    assert sorted(noted(deployment, "ended")) == sorted(pools)
    assert nothing_is_held(deployment)
