"""Tasks that are not due yet: they wait in Redis and in no worker, and run once, not before their time, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from tests.integration.test_leases import POOLS, held, in_queue, leased, noted, nothing_set_aside, tables  # noqa: F401
from tests.support import ROOT, Deployment, eventually

SEND = """
from switchyard.producer import app
for queue, task, name, *args, countdown in {messages!r}:
    print(app.send_task(task, args=[name, *args], queue=queue, countdown=countdown).id)
"""


def send_later(deployment: Deployment, *messages: tuple[object, ...]) -> list[str]:
    """Each a queue, a task, its arguments, and in how many seconds; returns their ids."""
    return deployment.python(SEND.format(messages=messages)).split()


def delayed(deployment: Deployment) -> int:
    return int(deployment.server.client(0).zcard("switchyard:delayed"))


def command(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `make` calls."""
    return subprocess.run(
        [sys.executable, "-m", "switchyard", *arguments], cwd=ROOT, env={**deployment.environment, "RUNTIME": "local"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def ran(deployment: Deployment) -> dict[str, float]:
    """When each task ran. None has run twice."""
    lines = [line.split() for line in noted(deployment, "later")]
    assert max(Counter(name for name, _ in lines).values(), default=1) == 1, lines
    return {name: float(at) for name, at in lines}


def test_a_delayed_task_waits_in_no_worker_and_runs_when_it_is_due_on_every_pool(leased: Deployment) -> None:  # noqa: F811
    """Its worker is idle meanwhile, and other tasks run."""
    leased.queues(tables())
    leased.start_workers(*POOLS)
    begun = time.time()
    now = [(pool, "later", f"{pool}-now", 0) for pool in POOLS]
    send_later(leased, *((pool, "later", pool, 10) for pool in POOLS), *now)
    eventually(
        lambda: delayed(leased) == len(ran(leased)) == len(POOLS) and held(leased) == 0,
        "some to be delayed, and the others to run",
    )
    assert leased.server.client(0).hgetall("switchyard:delayed:counts") == dict.fromkeys(POOLS, "1")
    eventually(lambda: len(ran(leased)) == 2 * len(POOLS), "all to run")
    assert min(ran(leased)[pool] for pool in POOLS) >= begun + 10
    eventually(lambda: held(leased) == 0, "all to be acknowledged")
    assert delayed(leased) == 0
    assert leased.server.client(0).hgetall("switchyard:delayed:counts") == {}


def test_delayed_tasks_outlive_their_worker_and_redis(leased: Deployment) -> None:  # noqa: F811
    """The worker of another queue gives them back; a worker of theirs runs each once."""
    leased.queues(tables(names=("solo", "gevent")))
    workers = leased.start_workers("solo", "gevent")
    send_later(leased, *(("gevent", "later", f"task{number}", 6 + number / 10) for number in range(40)))
    eventually(lambda: delayed(leased) == 40, "all to be delayed")
    os.killpg(workers["gevent"].pid, signal.SIGKILL)
    eventually(lambda: leased.server.client(0).info("persistence")["aof_buffer_length"] == 0, "all to be on the disk")
    leased.server.kill()
    leased.server.start()
    with leased.server.client(0).pipeline() as both:  # at one moment: the first may be due by now
        assert sum(both.zcard("switchyard:delayed").llen("gevent").execute()) == 40
    eventually(lambda: len(in_queue(leased, "gevent")) == 40, "all to be due")
    assert ran(leased) == {}
    leased.start_worker("gevent")
    eventually(lambda: len(ran(leased)) == 40, "all to run")
    eventually(lambda: held(leased) == 0, "all to be acknowledged")
    assert nothing_set_aside(leased)


def test_a_retry_waits_in_redis(leased: Deployment) -> None:  # noqa: F811
    """It is a message with a later time, whoever publishes it."""
    leased.queues(tables(names=("prefork",)))
    leased.start_worker("prefork")
    send_later(leased, ("prefork", "try_later", "again", 4, 0))
    eventually(lambda: delayed(leased) == 1, "the retry to be delayed")
    assert held(leased) == 0
    eventually(lambda: len(noted(leased, "later")) == 2, "it to run again")
    first, second = (float(line.split()[1]) for line in noted(leased, "later"))
    assert second >= first + 4


@pytest.mark.parametrize("restarted", [False, True], ids=["heard", "restarted"])
def test_a_delayed_task_that_was_revoked_does_not_run(leased: Deployment, restarted: bool) -> None:  # noqa: F811
    """Also by a worker that started later: Celery's own workers keep in memory what was revoked."""
    leased.queues(tables(names=("solo",)))
    leased.start_worker("solo")
    revoked, _ = send_later(leased, ("solo", "later", "revoked", 20), ("solo", "later", "kept", 20))
    eventually(lambda: delayed(leased) == 2, "both to be delayed")
    leased.python(f"from switchyard.producer import app; app.control.revoke({revoked!r})")
    client = leased.server.client(0)
    eventually(lambda: client.zrange("switchyard:revoked", 0, -1) == [revoked], "it to be noted")
    if restarted:
        leased.kill_workers()
        assert delayed(leased) == 2
        leased.start_worker("solo")
    eventually(lambda: "kept" in ran(leased), "the other to run")
    eventually(lambda: held(leased) == 0, "both to be done with")
    assert set(ran(leased)) == {"kept"}
    assert client.zcard("switchyard:revoked") == 0, "what is over is still remembered"


def test_delayed_tasks_are_listed_and_released_to_stock_workers(leased: Deployment) -> None:  # noqa: F811
    """Not while leased workers consume, which would delay them anew; a stock worker holds them until they are due."""
    leased.queues(tables(names=("solo",)))
    leased.start_worker("solo")
    (id_,) = send_later(leased, ("solo", "later", "much_later", 3600))
    send_later(leased, ("solo", "later", "soon", 25))
    eventually(lambda: delayed(leased) == 2, "both to be delayed")
    listed = command(leased, "delayed").stdout
    assert listed.index("solo") < listed.index(id_)
    refused = command(leased, "delayed", "--release")
    assert refused.returncode != 0
    assert "Set BROKER_TRANSPORT=stock in .env and say `make up`" in refused.stderr
    assert delayed(leased) == 2
    leased.kill_workers()
    leased.environment["BROKER_TRANSPORT"] = "stock"
    leased.start_worker("solo")
    eventually(
        lambda: "Given back to their queues: 2." in command(leased, "delayed", "--release").stdout, "them to go back"
    )
    assert delayed(leased) == 0
    eventually(lambda: set(ran(leased)) == {"soon"}, "the one that is due to run")
    eventually(lambda: held(leased) == 1, "the other to be held")
    assert "No message is delayed." in command(leased, "delayed").stdout
