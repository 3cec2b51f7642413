"""What workers are told in mid-work (to stop at once, to consume no more, that their connection is gone) costs no message and no slot.

On greenlets most of all, where Celery has no event loop, and does much of this otherwise than on other pools.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from tests.support import PATIENCE, ROOT, Deployment, eventually

POOLS = ("prefork", "gevent", "threads")
QUEUE = """
[queues.default]
tasks = ["*"]
imports = ["project.tasks"]
pool = "{pool}"
{slots}
prefetch = {prefetch}
time_limit = 300
drain = {drain}
"""
NODE = f"default@{os.uname().nodename}"
CONTROL = f"""
from switchyard.producer import app
asked = {{"timeout": 10, "limit": 1, "destination": [{NODE!r}]}}
"""


def queue(pool: str, slots: str = "concurrency = 2", prefetch: int = 1, drain: float = 60) -> str:
    if pool == "solo":
        slots = "concurrency = 1"
    return QUEUE.format(pool=pool, slots=slots, prefetch=prefetch, drain=drain)


def noted(deployment: Deployment, name: str) -> list[str]:
    file = deployment.folder / name
    return file.read_text().splitlines() if file.exists() else []


def send(deployment: Deployment, task: str, *names: object) -> None:
    """A task of this name for each."""
    deployment.python(
        f"from switchyard.producer import app\nfor name in {names!r}: app.send_task({task!r}, args=[name], ignore_result=True)"
    )


def there(deployment: Deployment) -> tuple[int, int]:
    """How many messages wait, and how many are held."""
    waiting, held = deployment.server.client(0).pipeline().llen("default").hlen("unacked").execute()
    return waiting, held


def counted(deployment: Deployment) -> list[str]:
    """Messages that wait and say that they were lost."""
    return [message for message in deployment.server.client(0).lrange("default", 0, -1) if "x-deliveries" in message]


def letters(deployment: Deployment) -> list[dict[str, str]]:
    """What was set aside."""
    client = deployment.server.client(0)
    return [client.hgetall(f"switchyard:dead_letter:{id_}") for id_ in client.zrange("switchyard:dead_letters", 0, -1)]


def open_the_gate(deployment: Deployment) -> None:
    (deployment.folder / "open_").touch()


def answers(deployment: Deployment) -> bool:
    """Whether the worker hears remote control."""
    asking = f'{CONTROL}\nasked["timeout"] = 2\nprint(bool(app.control.inspect(**asked).ping()))'
    return deployment.python(asking) == "True"


def cut(deployment: Deployment) -> None:
    """Every connection is lost at once; the worker says so."""
    deployment.server.client(0).client_kill_filter(_type="normal", skipme=True)
    eventually(lambda: "Connection to broker lost" in deployment.log().read_text(), "the worker to notice")


@pytest.mark.parametrize("pool", [*POOLS, "solo"])
def test_a_worker_that_is_stopped_at_once_gives_back_what_it_runs(deployment: Deployment, pool: str) -> None:
    """SIGQUIT, Celery's cold shutdown. A greenlet that it kills ends without an exception, and Celery takes that for a success; on threads
    and solo it can end no task, and raises wherever it is.
    """
    names = ["a"] if pool == "solo" else ["a", "b"]
    deployment.queues(queue(pool))
    worker = deployment.start_worker()
    send(deployment, "gate", *names)
    eventually(lambda: sorted(noted(deployment, "begun")) == names, "all to begin")
    os.kill(worker.pid, signal.SIGQUIT)
    worker.wait(timeout=PATIENCE)
    eventually(lambda: there(deployment) == (len(names), 0), "all to be back")
    assert counted(deployment) == []
    open_the_gate(deployment)
    deployment.start_worker()
    eventually(lambda: sorted(noted(deployment, "ended")) == names, "all to run")
    assert letters(deployment) == []


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_remote_control_stops_keeps_to_its_drain(deployment: Deployment, pool: str) -> None:
    """No signal has told it, which is how Celery tells whoever listens."""
    deployment.queues(queue(pool, drain=1))
    worker = deployment.start_worker()
    send(deployment, "gate", "a", "b")
    eventually(lambda: len(noted(deployment, "begun")) == 2, "both to begin")
    deployment.python(f"{CONTROL}\napp.control.shutdown(destination=asked['destination'])")
    worker.wait(timeout=PATIENCE)
    assert there(deployment) == (2, 0)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_that_was_acknowledged_when_it_began_is_kept_if_its_worker_stops(
    deployment: Deployment, pool: str
) -> None:
    """Nothing can be given back: nobody else has its message."""
    deployment.queues(queue(pool, drain=1))
    worker = deployment.start_worker()
    send(deployment, "gate_early", "a")
    eventually(lambda: noted(deployment, "begun"), "it to begin")
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE) == 0
    assert [letter["reason"] for letter in letters(deployment)] == ["its worker was stopped while it ran"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_what_is_due_within_a_second_runs_although_its_workers_connection_is_lost(
    deployment: Deployment, pool: str
) -> None:
    """Celery's timer holds it until then, and held it, and its slot, for as long as the next connection lasted."""
    deployment.queues(queue(pool, prefetch=4))
    deployment.start_worker()
    deployment.python(
        "from switchyard.producer import app\nfor n in range(4): app.send_task('later', args=[n], countdown=0.9, ignore_result=True)"
    )
    cut(deployment)
    eventually(lambda: len(noted(deployment, "later")) >= 4, "all to run")
    eventually(lambda: there(deployment) == (0, 0), "all to be acknowledged")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_task_that_takes_more_memory_than_there_is_fails_and_its_worker_goes_on(
    deployment: Deployment, pool: str
) -> None:
    """Celery raises its MemoryError again in the worker, which ends one, and costs another its slots."""
    deployment.queues(queue(pool))
    deployment.start_worker()
    send(deployment, "goes_wrong", *["takes more than there is"] * 3, "not at all")
    eventually(lambda: len(letters(deployment)) == 3, "three to be kept")
    assert {letter["reason"].split(":")[0] for letter in letters(deployment)} == {"MemoryError"}
    eventually(lambda: "not at all" in noted(deployment, "begun"), "the next one to run")
    eventually(lambda: there(deployment) == (0, 0), "all to be acknowledged")
    assert "Unrecoverable" not in deployment.log().read_text()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_task_that_exits_is_given_up_after_a_while_and_costs_no_slot(deployment: Deployment, pool: str) -> None:
    """As if its process were lost, which on prefork it is."""
    deployment.environment["MAX_DELIVERIES"] = "2"
    deployment.queues(queue(pool))
    deployment.start_worker()
    send(deployment, "goes_wrong", "exits", "exits", "not at all")
    eventually(lambda: len(letters(deployment)) == 2, "both to be given up")
    assert all("its process was lost" in letter["reason"] for letter in letters(deployment))
    eventually(lambda: "not at all" in noted(deployment, "begun"), "the next one to run")
    eventually(lambda: there(deployment) == (0, 0), "all to be acknowledged")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_that_ends_while_redis_is_away_has_succeeded(own_deployment: Deployment, pool: str) -> None:
    """Its result waits for it."""
    own_deployment.queues(queue(pool))
    own_deployment.start_worker()
    sending = "from switchyard.producer import app; print(app.send_task('gate', args=['a']).id)"
    id_ = own_deployment.python(sending)
    eventually(lambda: noted(own_deployment, "begun"), "it to begin")
    own_deployment.server.kill()
    open_the_gate(own_deployment)
    eventually(lambda: noted(own_deployment, "ended"), "it to end")
    eventually(lambda: "Connection to broker lost" in own_deployment.log().read_text(), "its worker to notice")
    own_deployment.server.start()
    result = f"celery-task-meta-{id_}"
    eventually(lambda: '"SUCCESS"' in (own_deployment.server.client().get(result) or ""), "its result")
    eventually(lambda: there(own_deployment) == (0, 0), "it to be acknowledged")
    assert letters(own_deployment) == []


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_retry_that_cannot_be_published_is_tried_again(own_deployment: Deployment, pool: str) -> None:
    """Celery makes a rejection of it, as of a task that wants no more of its message."""
    own_deployment.queues(queue(pool))
    own_deployment.start_worker()
    send(own_deployment, "tries_again_at_the_gate", "a")
    eventually(lambda: noted(own_deployment, "begun"), "it to begin")
    own_deployment.server.kill()
    open_the_gate(own_deployment)
    eventually(lambda: noted(own_deployment, "told"), "it to be told")
    own_deployment.server.start()
    eventually(lambda: noted(own_deployment, "ended")[1:] == ["a"], "it to run again")
    eventually(lambda: there(own_deployment) == (0, 0), "it to be acknowledged")
    assert letters(own_deployment) == []


@pytest.mark.parametrize("terminate", [False, True], ids=["revoked", "terminated"])
def test_a_task_that_is_revoked_while_a_thread_worker_holds_it_does_not_run(
    deployment: Deployment, terminate: bool
) -> None:
    """It waits in the pool's own queue by then, of which nothing can be taken back."""
    deployment.queues(queue("threads", slots="concurrency = 1", prefetch=3))
    deployment.start_worker()
    send(deployment, "gate", "a")
    eventually(lambda: noted(deployment, "begun") == ["a"], "it to begin")
    id_ = deployment.python(
        "from switchyard.producer import app; print(app.send_task('gate', args=['b'], ignore_result=True).id)"
    )
    send(deployment, "gate", "c")
    eventually(lambda: there(deployment) == (0, 3), "the others to be reserved")
    deployment.python(f"{CONTROL}\napp.control.revoke({id_!r}, reply=True, terminate={terminate}, **asked)")
    open_the_gate(deployment)
    eventually(lambda: noted(deployment, "ended") == ["a", "c"], "the others to run")
    eventually(lambda: there(deployment) == (0, 0), "all to be done with")
    assert noted(deployment, "ended") == ["a", "c"]


@pytest.mark.parametrize("pool", [*POOLS, "solo"])
def test_a_broadcast_that_nobody_can_read_costs_a_worker_nothing(deployment: Deployment, pool: str) -> None:
    """Whatever it is."""
    deployment.queues(queue(pool))
    deployment.start_worker()
    eventually(lambda: answers(deployment), "it to listen")
    client = deployment.server.client(0)
    for number, said in enumerate(("[]", "5", "{}"), start=1):
        client.publish("/0.celery.pidbox", said)
        eventually(
            lambda n=number: deployment.log().read_text().count('"broadcast_not_taken"') >= n, f"{said} to be told"
        )
    assert answers(deployment)
    assert "Unrecoverable" not in deployment.log().read_text()
    assert "Connection to broker lost" not in deployment.log().read_text()


@pytest.mark.parametrize("pool", POOLS)
def test_a_message_without_an_id_is_set_aside_and_costs_no_connection(deployment: Deployment, pool: str) -> None:
    """kombu takes the KeyError of looking for one for the broker's: the worker would lose its connection over it, again and again."""
    deployment.queues(queue(pool))
    deployment.start_worker()
    client = deployment.server.client(0)
    message = {
        "body": "W1tdLCB7fSwge31d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"task": "last"},
        "properties": {"delivery_tag": "x", "delivery_info": {"exchange": "", "routing_key": "default"}, "body_encoding": "base64"},
    }  # fmt: skip
    client.lpush("default", json.dumps(message))
    eventually(lambda: client.zcard("switchyard:dead_letters") == 1, "it to be kept")
    open_the_gate(deployment)
    send(deployment, "gate", "good")
    eventually(lambda: noted(deployment, "ended") == ["good"], "the next one to run")
    assert "Connection to broker lost" not in deployment.log().read_text()


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_whose_connection_was_lost_holds_no_more_than_before(deployment: Deployment, pool: str) -> None:
    """What still runs counts: only what ends makes room; and room for one is used at once."""
    deployment.queues(queue(pool))
    deployment.start_worker()
    send(deployment, "gate", "a")
    send(deployment, "misbehave", ["waits for", "the first"])
    eventually(lambda: len(noted(deployment, "begun")) == 2, "both to begin")
    cut(deployment)
    send(deployment, "gate", "c", "d", "e")
    eventually(lambda: answers(deployment), "the worker to be back")
    assert there(deployment) == (3, 2)
    (deployment.folder / "the first").touch()
    eventually(lambda: "c" in noted(deployment, "begun"), "one to begin")
    assert there(deployment) == (2, 2)
    open_the_gate(deployment)
    eventually(lambda: sorted(noted(deployment, "ended")) == [*"acde"], "all to run")
    eventually(lambda: there(deployment) == (0, 0), "all to be acknowledged")


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_worker_that_grows_with_its_work_does_so_after_its_connection_was_lost(
    deployment: Deployment, pool: str
) -> None:
    """It must be allowed to hold more than it has slots, or it never has a reason to."""
    deployment.queues(queue(pool, slots='autoscale = "4,1"'))
    deployment.start_worker()
    cut(deployment)
    send(deployment, "gate", *"abcd")
    eventually(lambda: len(noted(deployment, "begun")) == 4, "all to run at once")


def test_what_a_gevent_worker_has_fetched_of_a_queue_goes_back_when_it_consumes_it_no_more(
    deployment: Deployment,
) -> None:
    """Uncounted, and in order; but for the one that it waits with for a free slot."""
    deployment.queues(queue("gevent", slots="concurrency = 1", prefetch=6))
    names = [*"abcdef"]
    send(deployment, "gate", *names)
    deployment.start_worker()
    eventually(lambda: there(deployment) == (0, 6) and noted(deployment, "begun"), "all to be fetched")
    deployment.python(f"{CONTROL}\napp.control.cancel_consumer('default', reply=True, **asked)")
    open_the_gate(deployment)
    eventually(lambda: there(deployment) == (4, 0), "the others to be back")
    assert counted(deployment) == []
    assert noted(deployment, "ended") == ["a", "b"]
    deployment.python(f"{CONTROL}\napp.control.add_consumer('default', reply=True, **asked)")
    eventually(lambda: noted(deployment, "ended") == names, "all to run, in order")


def test_a_gevent_worker_that_stops_begins_nothing_of_what_it_has_fetched(deployment: Deployment) -> None:
    """But for the one that it waits with for a free slot."""
    deployment.queues(queue("gevent", prefetch=4))
    send(deployment, "gate", *"abcdefgh")
    worker = deployment.start_worker()
    eventually(lambda: there(deployment) == (0, 8) and len(noted(deployment, "begun")) == 2, "all to be fetched")
    os.kill(worker.pid, signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in deployment.log().read_text(), "it to be told")
    open_the_gate(deployment)
    assert worker.wait(timeout=PATIENCE) == 0
    assert noted(deployment, "ended") == noted(deployment, "begun")
    assert 2 <= len(noted(deployment, "begun")) <= 3
    assert there(deployment) == (8 - len(noted(deployment, "begun")), 0)
    assert counted(deployment) == []


def test_whoever_asks_workers_and_is_gone_leaves_nothing(deployment: Deployment) -> None:
    """An answer lies in a list of its own, which nobody would ever look into again."""
    deployment.queues(queue("threads"))
    deployment.start_worker()
    asking = "from switchyard.producer import app; print(app.control.inspect(timeout=10, limit=1).ping())"
    command = [sys.executable, "-c", asking]
    said = subprocess.run(command, env=deployment.environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pong" in said.stdout
    client = deployment.server.client(0)
    assert (client.hgetall("unacked"), client.keys("*.reply.celery.pidbox")) == ({}, [])


def test_a_gevent_worker_hears_remote_control_after_its_connection_for_that_was_lost(deployment: Deployment) -> None:
    """It is another one than that of its queue, and Celery lets the greenlet end that listens there."""
    deployment.queues(queue("gevent"))
    deployment.start_worker()
    eventually(lambda: answers(deployment), "it to listen")
    deployment.server.client(0).client_kill_filter(_type="pubsub")
    eventually(lambda: '"remote_control_awaited"' in deployment.log().read_text(), "it to notice")
    eventually(lambda: answers(deployment), "it to listen again")
    assert "Connection to broker lost" not in deployment.log().read_text()


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_what_a_task_opens_while_its_worker_drains_has_no_other_timeout_than_before(
    deployment: Deployment, pool: str
) -> None:
    """Celery gives every socket of the process five seconds then."""
    deployment.queues(queue(pool) + 'log_level = "DEBUG"\n')
    worker = deployment.start_worker()
    send(deployment, "tells_its_sockets_timeout", "a")
    eventually(lambda: noted(deployment, "begun"), "it to begin")
    os.kill(worker.pid, signal.SIGTERM)
    eventually(lambda: "Worker: Stopping Pool" in deployment.log().read_text(), "it to wait for its tasks")
    open_the_gate(deployment)
    assert worker.wait(timeout=PATIENCE) == 0
    assert noted(deployment, "timeouts") == ["None"]


def test_a_gevent_worker_with_a_thousand_open_files_comes_back_after_redis(own_deployment: Deployment) -> None:
    """What it opens then has numbers that select() does not know, which kombu asks on greenlets."""
    own_deployment.queues(queue("gevent"))
    own_deployment.start_worker()
    send(own_deployment, "opens_files", 1100)
    eventually(lambda: noted(own_deployment, "begun") == ["first"], "it to open them")
    own_deployment.server.kill()
    eventually(lambda: "Trying again in" in own_deployment.log().read_text(), "it to have closed what it had")
    open_the_gate(own_deployment)
    eventually(lambda: noted(own_deployment, "ended") == ["first", "second"], "it to open more")
    own_deployment.server.start()
    for name in ("waiting", "later"):  # the one that waits is fetched before anything is polled
        send(own_deployment, "gate", name)
        eventually(lambda name=name: name in noted(own_deployment, "ended"), f"{name} to run")
