"""Leases of real workers: what runs keeps its message however long it takes, and what is lost with its worker runs elsewhere."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from tests.support import ROOT, Deployment, Server, eventually

LEASE = 5
POOLS = ("prefork", "gevent", "threads", "solo")
QUEUE = """
[queues.{name}]
tasks = ["{name}.*"]
imports = ["project.tasks"]
pool = "{pool}"
concurrency = {slots}
prefetch = {prefetch}
time_limit = 300
drain = 0
"""
SEND = """
from switchyard.producer import app
for queue, task, *args in {messages!r}:
    app.send_task(task, args=args, queue=queue)
"""


class Cluster(Server):
    """One server that calls itself a cluster, which has one database only."""

    def client(self, database: int = 0) -> redis.Redis:
        del database
        return super().client(0)


def tables(slots: int = 1, prefetch: int = 1, names: tuple[str, ...] = POOLS) -> str:
    return "".join(
        QUEUE.format(name=name, pool=name, slots=1 if name == "solo" else slots, prefetch=prefetch) for name in names
    )


@pytest.fixture
def leased(deployment: Deployment) -> Deployment:
    deployment.environment["BROKER_LEASE"] = str(LEASE)
    return deployment


def send(deployment: Deployment, *messages: tuple[object, ...]) -> None:
    """Each a queue, a task and its arguments."""
    deployment.python(SEND.format(messages=messages))


def noted(deployment: Deployment, name: str) -> list[str]:
    file = deployment.folder / name
    return file.read_text().splitlines() if file.exists() else []


def held(deployment: Deployment) -> int:
    client = deployment.server.client(0)
    return max(client.hlen("unacked"), client.zcard("unacked_index"))


def in_queue(deployment: Deployment, queue: str) -> list[str]:
    """The messages that wait, the next one first."""
    return list(reversed(deployment.server.client(0).lrange(queue, 0, -1)))


def name_of(message: str) -> str:
    """The first argument of its task."""
    return json.loads(base64.b64decode(json.loads(message)["body"]))[0][0]


def open_gate(deployment: Deployment, gate: str = "") -> None:
    (deployment.folder / f"open_{gate}").touch()


def signal_all(workers: dict[str, subprocess.Popen[bytes]], number: int) -> None:
    for worker in workers.values():
        os.killpg(worker.pid, number)


def nothing_set_aside(deployment: Deployment) -> bool:
    return deployment.server.client(0).zcard("switchyard:dead_letters") == 0


def swept_after(deployment: Deployment, what: str) -> None:
    """Wait until leases have been watched for longer than one, from some moment after this."""
    client = deployment.server.client(0)
    asked = client.time()[0]

    def swept() -> bool:
        clock = {key: float(value) for key, value in client.hgetall("switchyard:lease_clock").items()}
        return bool(clock) and clock["seen"] > max(clock["since"], asked) + LEASE + 1

    eventually(swept, f"leases to be watched for a whole one after {what}")


def test_a_task_that_takes_longer_than_three_leases_runs_once_on_every_pool(leased: Deployment) -> None:
    """Beside an idle worker that would take it: tasks that sleep, compute, or block what runs all others."""
    leased.queues(tables())
    leased.start_workers(*POOLS)
    seconds = 3 * LEASE + 2
    send(
        leased,
        ("prefork", "last", "prefork", seconds),
        ("gevent", "block", "gevent", seconds),
        ("threads", "compute", "threads", seconds),
        ("solo", "compute", "solo", seconds),
    )
    eventually(lambda: len(noted(leased, "begun")) == len(POOLS), "all to begin")
    leased.start_workers(*POOLS)
    eventually(lambda: held(leased) == 0, "all to be acknowledged", 120)
    assert sorted(noted(leased, "begun")) == sorted(POOLS)
    assert [in_queue(leased, pool) for pool in POOLS] == [[]] * len(POOLS)


def test_what_a_killed_worker_ran_and_had_reserved_runs_elsewhere_in_order(leased: Deployment) -> None:
    """On every pool, put back by the worker of another queue: in front of what it never had, and counted once."""
    leased.queues(tables(slots=2, prefetch=2) + tables(names=("default",)).replace('pool = "default"', 'pool = "solo"'))
    has = {pool: 2 if pool == "solo" else 4 for pool in POOLS}
    # First, since a solo worker that finds one message runs it, and reserves no other meanwhile.
    send(leased, *((pool, "gate", f"{pool}{number}") for pool in POOLS for number in range(6)))
    workers = leased.start_workers(*POOLS)
    leased.start_worker()
    eventually(lambda: held(leased) == sum(has.values()), "every worker to have what it may")
    eventually(lambda: len(noted(leased, "begun")) == 7, "every slot to be full")
    running = noted(leased, "begun")
    signal_all(workers, signal.SIGKILL)
    eventually(lambda: held(leased) == 0, "all to be put back")
    for pool in POOLS:
        waiting = in_queue(leased, pool)
        assert [name_of(message) for message in waiting] == [f"{pool}{number}" for number in range(6)]
        counted = [message.startswith('{"x-deliveries": 1, ') for message in waiting]
        assert counted == [True] * has[pool] + [False] * (6 - has[pool])

    open_gate(leased)
    leased.start_workers(*POOLS)
    eventually(lambda: len(noted(leased, "ended")) == 6 * len(POOLS), "all to run")
    eventually(lambda: held(leased) == 0, "all to be acknowledged")
    assert sorted(noted(leased, "begun")) == sorted([*running, *noted(leased, "ended")])
    assert len(set(noted(leased, "ended"))) == 6 * len(POOLS)
    assert nothing_set_aside(leased)


def test_a_worker_that_wakes_up_after_its_lease_settles_nothing_of_the_next_owners(leased: Deployment) -> None:
    """It was stopped in mid-task. Its task ends, and its acknowledgement is of a delivery that is over; it goes on with others."""
    leased.queues(tables())
    leased.environment["GATE"] = "first"
    first = leased.start_workers(*POOLS)
    send(leased, *((pool, "gate", pool) for pool in POOLS))
    eventually(lambda: len(noted(leased, "begun")) == len(POOLS), "all to begin")
    signal_all(first, signal.SIGSTOP)
    leased.environment["GATE"] = "second"
    second = leased.start_workers(*POOLS)
    eventually(lambda: len(noted(leased, "begun")) == 2 * len(POOLS), "all to begin elsewhere")

    signal_all(first, signal.SIGCONT)
    open_gate(leased, "first")
    eventually(lambda: sorted(noted(leased, "ended")) == sorted(POOLS), "the first runs to end")
    # The others are full: only these take them, and acknowledge in the order in which tasks have ended.
    send(leased, *((pool, "last", f"{pool} after", 0) for pool in POOLS))
    eventually(lambda: len(noted(leased, "ended")) == 2 * len(POOLS), "what comes after to end")
    eventually(lambda: held(leased) == len(POOLS), "what comes after to be acknowledged")
    owners = [tag.split(".")[-2] for tag in leased.server.client(0).hkeys("unacked")]
    assert sorted(owners) == sorted(str(worker.pid) for worker in second.values())

    open_gate(leased, "second")
    eventually(lambda: held(leased) == 0, "the second runs to be acknowledged")
    assert sorted(noted(leased, "begun")) == sorted([*POOLS, *POOLS, *(f"{pool} after" for pool in POOLS)])
    assert [in_queue(leased, pool) for pool in POOLS] == [[]] * len(POOLS)
    assert nothing_set_aside(leased)


def test_nothing_runs_twice_because_redis_did_not_answer_for_two_leases(own_deployment: Deployment) -> None:
    """Nobody could renew. Also after it has been killed and started again; tasks that ran go on."""
    own_deployment.environment["BROKER_LEASE"] = str(LEASE)
    pools, server = ("prefork", "gevent", "threads"), own_deployment.server
    own_deployment.queues(tables(names=pools))
    workers = [*own_deployment.start_workers(*pools).values()]
    send(own_deployment, *((pool, "gate", pool) for pool in pools))
    eventually(lambda: len(noted(own_deployment, "begun")) == len(pools), "all to begin")
    workers += own_deployment.start_workers(*pools).values()
    leases_end = server.client().time()[0] + 2 * LEASE

    os.kill(server.process.pid, signal.SIGSTOP)
    eventually(lambda: subprocess.check_output(["date", "+%s"]) > str(leases_end).encode(), "two leases to pass")
    os.kill(server.process.pid, signal.SIGCONT)
    swept_after(own_deployment, "the pause")
    server.kill()
    server.start()
    swept_after(own_deployment, "the restart")
    assert held(own_deployment) == len(pools)

    open_gate(own_deployment)
    eventually(lambda: held(own_deployment) == 0, "all to be acknowledged")
    assert sorted(noted(own_deployment, "begun")) == sorted(noted(own_deployment, "ended")) == sorted(pools)
    assert [worker.poll() for worker in workers] == [None] * len(workers)


def test_a_worker_goes_on_after_redis_has_been_emptied_or_has_lost_its_scripts(leased: Deployment) -> None:
    """FLUSHALL, SCRIPT FLUSH: what is published next runs, and is acknowledged; and remote control still works."""
    pools = ("prefork", "gevent", "threads")
    leased.queues(tables(names=pools))
    workers, server = leased.start_workers(*pools), leased.server.client(0)
    for number, command in enumerate(("SCRIPT FLUSH", "FLUSHALL", "SCRIPT FLUSH"), start=1):
        server.execute_command(command)
        send(leased, *((pool, "last", f"{pool}{number}", 0) for pool in pools))
        eventually(lambda n=number: len(noted(leased, "ended")) == n * len(pools), f"all to run after {command}")
        eventually(lambda: held(leased) == 0, "all to be acknowledged")
    assert len(set(noted(leased, "begun"))) == len(noted(leased, "begun")) == 3 * len(pools)

    control = f"from switchyard.producer import app; control, node = app.control, {os.uname().nodename!r}"
    # Each is asked by its name: three answers to one question may come at once, and whoever waits for the third waits in vain.
    asked = "timeout=10, limit=1, destination=[f'{q}@{node}']"
    each = f"for q in {pools!r}"
    assert leased.python(f"{control}; print(sum(len(control.inspect({asked}).ping()) {each}))") == "3"
    leased.python(f"{control}; [control.cancel_consumer(q, reply=True, {asked}) {each}]")
    send(leased, *((pool, "last", f"{pool} later", 0) for pool in pools))
    assert [len(in_queue(leased, pool)) for pool in pools] == [1, 1, 1]
    leased.python(f"{control}; [control.add_consumer(q, reply=True, {asked}) {each}]")
    eventually(lambda: len(noted(leased, "ended")) == 4 * len(pools), "what waited to run")
    eventually(lambda: held(leased) == 0, "all to be acknowledged")
    assert [worker.poll() for worker in workers.values()] == [None] * len(pools)


CANCELS = """
import os
from switchyard.producer import app
control, asked = app.control, {"timeout": 10, "limit": 1, "destination": [f"gevent@{os.uname().nodename}"]}
with app.connection_for_write() as connection:
    for number in range(6):
        control.cancel_consumer("gevent", reply=True, **asked)
        app.send_task("last", args=[f"later{number}", 0], queue="gevent")
        assert control.inspect(**asked).active_queues() == {asked["destination"][0]: []}
        print(connection.default_channel.client.llen("gevent"))
        control.add_consumer("gevent", reply=True, **asked)
        assert control.inspect(**asked).active_queues() != {asked["destination"][0]: []}
"""


def test_a_gevent_worker_has_done_what_remote_control_asks_when_it_says_so(leased: Deployment) -> None:
    """Another greenlet hears of it than the one that consumes, which Celery lets wait for messages until its wait is over."""
    leased.queues(tables(names=("gevent",)))
    leased.start_workers("gevent")
    assert leased.python(CANCELS).split() == ["1"] * 6
    eventually(lambda: len(noted(leased, "ended")) == 6, "what waited to run")
    eventually(lambda: held(leased) == 0, "all to be acknowledged")


def refused_by(deployment: Deployment) -> str:
    """What a worker says that has ended, or lives and does not consume."""
    deployment.queues(tables())
    log = deployment.log("prefork")
    with log.open("ab") as file:
        worker = subprocess.Popen(
            [sys.executable, "-m", "switchyard", "worker"], env={**deployment.environment, "QUEUE": "prefork"},
            cwd=ROOT, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    deployment.workers.append(worker)
    eventually(lambda: "BROKER_TRANSPORT=stock" in log.read_text() or worker.poll() is not None, "it to say something")
    return log.read_text()


def test_a_worker_that_may_not_listen_says_so_in_a_sentence(own_deployment: Deployment) -> None:
    """A user of somebody's Redis without CLIENT TRACKING, by which idle workers wait: what is missing, and the way out."""
    server = own_deployment.server
    server.client().execute_command("ACL", "SETUSER", "w", "on", ">pw", "~*", "&*", "+@all", "-client|tracking")
    own_deployment.environment["CELERY_BROKER_URL"] = f"redis://w:pw@127.0.0.1:{server.port}/0"
    said = refused_by(own_deployment)
    assert "client|tracking" in said.lower()
    assert "BROKER_TRANSPORT=stock" in said
    assert "Traceback" not in said


def test_a_worker_of_a_cluster_says_so_in_a_sentence(tmp_path: Path) -> None:
    """Its URL looks like any other; it is told when the worker connects."""
    server = Cluster(tmp_path, "--cluster-enabled", "yes")
    server.start()
    deployment = Deployment(server, tmp_path, "project.celery:app", ROOT / "tests" / "integration")
    url = f"redis://127.0.0.1:{server.port}/0"
    deployment.environment |= {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}
    try:
        server.client().execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        eventually(lambda: "cluster_state:ok" in str(server.client().execute_command("CLUSTER", "INFO")), "the cluster")
        said = refused_by(deployment)
    finally:
        deployment.kill_workers()
        server.kill()
    assert "The broker is in cluster mode; leases need one server with all keys" in said
    assert "Traceback" not in said


def test_what_a_queue_has_is_told_in_one_place(leased: Deployment) -> None:
    """What waits and for how long, what its worker holds, who consumes it; of a queue without a worker, too."""
    state = (
        "from dataclasses import astuple; from switchyard.broker.state import of_queues\n"
        "print({name: astuple(found) for name, found in of_queues(['solo', 'threads']).items()})"
    )

    def told() -> dict[str, tuple[int, int, int, float | None, int]]:
        return eval(leased.python(state))

    leased.queues(tables(names=("solo", "threads")))
    send(leased, *(("solo", "gate", f"solo{number}") for number in range(3)))
    waiting, in_flight, delayed, oldest, consumers = told()["solo"]
    assert (waiting, in_flight, delayed, consumers) == (3, 0, 0, 0)
    assert 0 < oldest < 3600
    leased.start_worker("solo")
    eventually(lambda: (told()["solo"][:3], told()["solo"][4]) == ((2, 1, 0), 1), "the worker to say what it has")
    assert told()["threads"] == (0, 0, 0, None, 0)
