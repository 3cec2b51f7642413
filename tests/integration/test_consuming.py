"""A worker's sign of life is the truth, on every pool: it stops when the worker no longer takes work, and only then."""

from __future__ import annotations

import os
import signal
import time

from tests.support import Deployment, eventually

from switchyard.health import STALE_S

POOLS = ("prefork", "gevent", "threads", "solo")
QUEUE = """
[queues.{name}]
tasks = ["{name}.*"]
imports = ["project.tasks"]
pool = "{pool}"
concurrency = {slots}
time_limit = {time_limit}
drain = 1
"""


def table(name: str, pool: str, slots: int = 2, time_limit: float = 60) -> str:
    return QUEUE.format(name=name, pool=pool, slots=1 if pool == "solo" else slots, time_limit=time_limit)


def begun(deployment: Deployment) -> list[str]:
    file = deployment.folder / "begun"
    return file.read_text().split() if file.exists() else []


def test_idle_workers_of_every_pool_beat_and_fall_silent_while_redis_does_not_answer(
    own_deployment: Deployment,
) -> None:
    """It hangs, so that connections stay open, or is killed. Both times all go on by themselves when it is back."""
    own_deployment.queues("".join(table(pool, pool) for pool in POOLS))
    workers, server = own_deployment.start_workers(*POOLS), own_deployment.server

    def beating() -> list[str]:
        assert all(worker.poll() is None for worker in workers.values())
        return [pool for pool, worker in workers.items() if own_deployment.beats(pool, worker)]

    idle_until = time.monotonic() + 1.5 * STALE_S
    while time.monotonic() < idle_until:
        assert beating() == list(POOLS)
        time.sleep(0.5)

    os.kill(server.process.pid, signal.SIGSTOP)
    eventually(lambda: not beating(), "every worker to fall silent while Redis hangs")
    os.kill(server.process.pid, signal.SIGCONT)
    eventually(lambda: beating() == list(POOLS), "every worker to beat again", 120)

    server.kill()
    eventually(lambda: not beating(), "every worker to fall silent while Redis is away")
    server.start()
    eventually(lambda: beating() == list(POOLS), "every worker to beat again", 120)


def test_busy_workers_beat_and_stuck_ones_do_not(deployment: Deployment) -> None:
    """All at once, since each takes its time: what is busy within its limits, however long, must not pass for stuck."""
    busy = {"computing": "solo", "full": "prefork", "full_threads": "threads"}
    stuck = {"overdue": "solo", "blocked": "gevent", "stopped": "prefork", "cancelled": "prefork"}
    tables = [table(name, pool) for name, pool in {**busy, **stuck}.items() if name != "overdue"]
    # A chunk may take 2 x 0.5 + 10 s here; the solo pool ends nothing that takes longer.
    deployment.queues("".join(tables) + table("overdue", "solo", time_limit=0.5))
    workers = deployment.start_workers(*busy, *stuck)

    deployment.send("compute", "computing", 50, queue="computing")
    deployment.send("last", "overdue", 300, queue="overdue")
    deployment.send("block", "blocked", 300, queue="blocked")
    for name in ("full", "full", "full_threads", "full_threads"):
        deployment.send("last", name, 50, queue=name)
    eventually(lambda: len(begun(deployment)) == 7, "every task to begin")
    os.killpg(workers["stopped"].pid, signal.SIGSTOP)
    deployment.python("from switchyard.producer import app; app.control.cancel_consumer('cancelled')")

    def silent() -> set[str]:
        for name in busy:
            assert deployment.beats(name, workers[name]), f"{name} is taken for stuck"
        return {name for name in stuck if not deployment.beats(name, workers[name])}

    eventually(lambda: silent() == set(stuck), "what is stuck to fall silent", 45)
    os.killpg(workers["stopped"].pid, signal.SIGCONT)
    eventually(lambda: "stopped" not in silent(), "the stopped one to beat again", 30)
