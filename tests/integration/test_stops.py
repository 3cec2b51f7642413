"""A stop loses nothing and runs nothing twice: what ends within `drain` is done, the rest goes back at once."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from tests.support import PATIENCE, Deployment, children, eventually

QUEUE = """
[queues.{name}]
tasks = ["{tasks}"]
imports = ["project.tasks"]
pool = "{pool}"
concurrency = {slots}
time_limit = 60
drain = {drain}
"""


SEND = """
from switchyard.producer import app
for task, args in {tasks!r}:
    app.send_task(task, args=args, queue={queue!r})
"""
#: What a message begins with that was lost with its worker.
COUNTED = '{"x-deliveries"'


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
    client = deployment.server.client(0)
    return client.hlen("unacked") == client.zcard("unacked_index") == 0


def in_queue(deployment: Deployment, queue: str) -> list[str]:
    """The messages that wait, the next one first."""
    return list(reversed(deployment.server.client(0).lrange(queue, 0, -1)))


def waits_to_be_read(pid: int) -> bool:
    """Whether something has been written to a pipe of this process."""
    for end in Path(f"/proc/{pid}/fd").iterdir():
        if str(end.readlink()).startswith("pipe:"):
            pipe = os.open(end, os.O_RDONLY | os.O_NONBLOCK)
            try:
                if int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder):
                    return True
            finally:
                os.close(pipe)
    return False


def arguments(message: str) -> list[object]:
    return list(json.loads(base64.b64decode(json.loads(message)["body"]))[0])


def test_a_prefork_worker_hands_back_what_outlives_its_drain(deployment: Deployment) -> None:
    """At once, with what it had only reserved; what ended in time is done. A second signal changes nothing."""
    deployment.queues(queues(drain=6))
    worker = deployment.start_worker()
    tasks = [("last", ["short", 2]), ("gate", ["long"]), ("last", ["reserved", 0]), ("last", ["waiting", 0])]
    send = "from switchyard.producer import app\nfor task, args in {}: app.send_task(task, args=args)"
    deployment.python(send.format(tasks))
    eventually(lambda: sorted(noted(deployment, "begun")) == ["long", "short"], "two to begin")
    os.kill(worker.pid, signal.SIGTERM)
    took = stop(worker)
    assert took > 5, "not at the end of drain"  # and it has no other end: nothing opens the gate
    assert noted(deployment, "ended") == ["short"]
    assert nothing_is_held(deployment)
    assert deployment.server.client(0).llen("default") == 3

    (deployment.folder / "open_").touch()
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


def child_that_is_stopped_with_a_task_on_its_way(
    deployment: Deployment, worker: subprocess.Popen[bytes], task: str, *args: object
) -> int:
    """The pid of the worker's one child, which was given a task and has not said that it runs it."""
    deployment.send("last", "first", 0)
    eventually(lambda: noted(deployment, "ended") and nothing_is_held(deployment), "the child to be there, and free")
    (child,) = children(worker.pid)
    os.kill(child, signal.SIGSTOP)
    deployment.send(task, *args)
    eventually(lambda: waits_to_be_read(child), "it to be on its way")
    return child


@pytest.mark.parametrize("says", ["Worker: Stopping Consumer", "Connection to broker lost"])
def test_a_task_that_is_on_its_way_to_a_child_when_its_worker_stops_or_loses_redis_runs_once(
    deployment: Deployment, says: str
) -> None:
    """The child was given it, and has not said that it runs it: it does so as soon as it is let."""
    stops = "Stopping" in says
    deployment.queues(queues(drain=60, slots=1) + 'log_level = "DEBUG"\n')
    worker = deployment.start_worker()
    child = child_that_is_stopped_with_a_task_on_its_way(deployment, worker, "last", "written", 0)
    if stops:
        os.kill(worker.pid, signal.SIGTERM)
    else:
        deployment.server.client(0).client_kill_filter(_type="normal", skipme=True)
    eventually(lambda: says in deployment.log().read_text(), f"the worker to say {says!r}")
    os.kill(child, signal.SIGCONT)
    eventually(lambda: noted(deployment, "ended") == ["first", "written"], "it to run")
    if stops:
        assert worker.wait(timeout=PATIENCE) == 0
    eventually(lambda: nothing_is_held(deployment), "it to be acknowledged")
    assert in_queue(deployment, "default") == []
    assert noted(deployment, "begun") == ["first", "written"]


def test_a_task_that_a_child_takes_after_the_end_of_drain_goes_back_as_well(deployment: Deployment) -> None:
    """It was on its way to the child then, and nobody knew whether it runs."""
    deployment.queues(queues(drain=0, slots=1) + 'log_level = "DEBUG"\n')
    worker = deployment.start_worker()
    child = child_that_is_stopped_with_a_task_on_its_way(deployment, worker, "gate", "written")
    os.kill(worker.pid, signal.SIGTERM)
    eventually(lambda: "Worker: Stopping Consumer" in deployment.log().read_text(), "the worker to stop")
    os.kill(child, signal.SIGCONT)
    assert worker.wait(timeout=PATIENCE) == 0
    assert len(in_queue(deployment, "default")) == 1
    assert nothing_is_held(deployment)
    assert noted(deployment, "ended") == ["first"]


@pytest.mark.parametrize("pool", ["prefork", "gevent", "threads", "solo"])
def test_an_item_that_is_handed_back_again_and_again_is_not_taken_for_one_that_kills_its_worker(
    deployment: Deployment, workflow, pool: str
) -> None:
    """More often than a chunk or a message may be lost. It ends when it has begun as often as that; the item before it, once."""
    stops = 7
    deployment.queues(queues(0, pool, slots=1 if pool == "solo" else 2))
    worker, started = deployment.start_worker(), None
    for begins in range(2, stops + 2):
        started = started or workflow(
            deployment, "spread", items=["quick", ["waits until begun", stops + 2]], chunk_size=2
        )
        eventually(lambda begins=begins: len(noted(deployment, "begun")) >= begins, "the item to begin")
        stop(worker)
        assert nothing_is_held(deployment)
        assert [message for message in in_queue(deployment, "default") if message.startswith(COUNTED)] == []
        worker = deployment.start_worker()
    done = started.wait()
    assert (done["state"], done["failed"], done["total"]) == ("done", 0, 2)
    assert noted(deployment, "begun").count("quick") == 1
    assert "Traceback" not in deployment.log().read_text()


def test_a_start_and_a_callback_that_are_handed_back_fail_no_workflow(deployment: Deployment, workflow) -> None:
    """The start runs again under its id; the callback's claim is not counted."""
    deployment.queues(queues(drain=0))
    worker = deployment.start_worker()
    calling_back = workflow(deployment, "spread", items=[1], callback="collect_slowly")
    eventually(lambda: calling_back.fields().get("state") == "joining", "the callback to run")
    fanning_out = workflow(deployment, "spread_slowly")
    eventually(lambda: fanning_out.fields().get("state") == "starting", "the items to be on their way")
    stop(worker)
    assert fanning_out.fields()["state"] in ("waiting", "starting")
    assert (calling_back.fields()["state"], calling_back.fields()["joins"]) == ("joining", "0")

    deployment.start_worker()
    assert fanning_out.wait()["state"] == "done"
    eventually(lambda: calling_back.fields()["joins"] == "1", "the callback to run again")


@pytest.mark.parametrize("pool", ["gevent", "threads", "solo"])
def test_every_other_pool_hands_back_what_outlives_its_drain_and_ends(deployment: Deployment, pool: str) -> None:
    """Tasks that sleep and tasks that compute: first in their queue, in order and uncounted, and next to run. None is waited for."""
    slots = 1 if pool == "solo" else 2
    deployment.queues(queues(2, pool, pool, slots=slots))
    tasks = [("last", ("sleeps", 300)), ("compute", ("computes", 300)), ("last", ("third", 0)), ("last", ("fourth", 0))]
    if pool == "solo":
        tasks.pop(0)
    worker = deployment.start_worker(pool)
    deployment.python(SEND.format(tasks=tasks, queue=pool))
    eventually(lambda: len(noted(deployment, "begun")) == slots, "its slots to be full")
    stop(worker)
    assert noted(deployment, "ended") == []
    assert nothing_is_held(deployment)
    waiting = in_queue(deployment, pool)
    assert [args[0] for args in map(arguments, waiting)] == [task[1][0] for task in tasks]
    assert [message for message in waiting if message.startswith(COUNTED)] == []

    deployment.start_worker(pool)
    eventually(lambda: len(noted(deployment, "begun")) == 2 * slots, "the same to run on the next worker")
    assert sorted(noted(deployment, "begun")) == sorted(2 * [task[1][0] for task in tasks[:slots]])


def test_a_solo_worker_stops_in_the_middle_of_a_call_that_nothing_interrupts(deployment: Deployment) -> None:
    """Its only thread never comes back to Celery's loop, which would have to hear of the stop."""
    deployment.queues(queues(1, "solo", slots=1))
    worker = deployment.start_worker()
    deployment.send("last", "sleeps", 300)
    eventually(lambda: noted(deployment, "begun"), "it to begin")
    stop(worker)
    assert nothing_is_held(deployment)
    assert len(in_queue(deployment, "default")) == 1


def test_a_worker_of_the_stock_transport_waits_for_its_tasks_beyond_drain(deployment: Deployment) -> None:
    """gevent, threads, solo: killed, their messages would be back only after the visibility timeout."""
    deployment.environment["BROKER_TRANSPORT"] = "stock"
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
