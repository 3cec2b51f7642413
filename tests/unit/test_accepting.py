"""What Celery's own pool of processes, on its own loop, does with a job that no child has accepted when its connection is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest


class Seen(NamedTuple):
    """The names of jobs that have run, how many answers of the second one came, and whether another child has replaced the first."""

    ran: list[str]
    answered: int
    replaced: bool


#: A pool of one child that has run one job; `lost` is what on_close does, `spin` lets the loop have its turns. In a process of its own.
PROGRAM = """
import json, os, signal, time
from types import SimpleNamespace
from billiard import forking_enable
from celery.concurrency.asynpool import AsynPool
from kombu.asynchronous import Hub, set_event_loop
from switchyard.worker import accepting

ran, accepting.PATIENCE_S, _ = os.environ["RAN"], 2.0, forking_enable(True)
hub = Hub()
set_event_loop(hub)

def task(name, *_):
    with open(ran, "a") as file:
        file.write(name + " ")

def spin(until, seconds=30):
    loop, end = hub.create_loop(), time.monotonic() + seconds
    hub.call_repeatedly(0.05, lambda: None)
    while not until():
        next(loop)
        assert time.monotonic() < end, "in vain"

def lost():
    hub.reset()
    accepting.hear(SimpleNamespace(_pool=pool))
    pool.flush()

pool = AsynPool(processes=1, threads=False, synack=False, putlocks=False, max_restarts=100, sched_strategy="fair")
pool.register_with_event_loop(hub)
spin(lambda: pool._all_inqueues)
first, child = pool.apply_async(task, ("first",)), pool._pool[0].pid
spin(first.ready)
os.kill(child, signal.SIGSTOP)
answered = []
CASE
children = [process.pid for process in pool._pool]
print(json.dumps({"ran": open(ran).read().split(), "answered": len(answered), "replaced": children != [child]}))
for pid in children:
    os.kill(pid, signal.SIGKILL)
os._exit(0)
"""
SENT = """
job = pool.apply_async(task, ("second", *PAYLOAD), callback=answered.append)
spin(lambda: job._write_to)
"""
#: The child is killed with the job in its pipe, and another one takes its place.
KILLED = """
os.kill(child, signal.SIGKILL)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it has ended, and the pool may still find that out
lost()
pool.register_with_event_loop(hub)
after = pool.apply_async(task, ("third",))
spin(after.ready)
"""


@pytest.fixture
def pool(python: Callable[..., str], tmp_path: Path) -> Callable[..., Seen]:
    """Runs a case."""

    def run(case: str, payload: str = "()") -> Seen:
        program = PROGRAM.replace("CASE", SENT.replace("PAYLOAD", payload) + case)
        return Seen(**json.loads(python(program, RAN=str(tmp_path / "ran"))))

    return run


def test_a_job_that_was_written_to_a_child_is_accepted_there(pool: Callable[..., Seen]) -> None:
    """It is let go a moment after the connection was lost."""
    seen = pool(
        "import threading\nthreading.Timer(0.5, os.kill, (child, signal.SIGCONT)).start()\nlost()\nspin(job.ready)"
    )
    assert seen == (["first", "second"], 1, False)


def test_what_was_written_to_a_child_that_has_ended_is_read_by_none_that_replaces_it(pool: Callable[..., Seen]) -> None:
    """Its message is delivered again: run here as well it would run twice."""
    seen = pool(KILLED)
    assert seen == (["first", "third"], 0, True)


def test_a_child_that_hangs_with_half_of_a_job_holds_nobody_up_for_ever(pool: Callable[..., Seen]) -> None:
    """The job is larger than a pipe, and nobody reads it."""
    seen = pool("assert pool._active_writers\nlost()", payload="['x' * 1_000_000]")
    assert seen == (["first"], 0, False)
