"""The benches in their smallest form, on real workers: that they measure and say so, whatever the numbers are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from bench.systems.system import PEERS

from switchyard.settings import ROOT

#: Everything that needs no other project, on one Redis.
_OURS = """
from bench.footprint.__main__ import Found, _start, section
from bench.footprint.programs import programs
from bench.growth.__main__ import measure
from bench.latency.__main__ import found as waits
from bench.section import show
from bench.small_tasks.__main__ import found
from bench.systems.catalogue import ours, stock
from bench.workers import bench

with bench() as made:
    made.without_persistence()
    show(found(made, [ours("solo", 2), stock("solo", 2)], ["incr"], tasks=1000, rounds=1).section())
    show(waits(made, ["gevent"], messages=2, rounds=1, others=False).section())
    some = {program: Found() for program in programs() if program.name in ("clock", "supervisord")}
    for program, one in some.items():
        _start(made, program, one, settled=0)
    show(section(some))
    show(measure(made, [200], idle=2, rounds=1, seconds=0.5))
"""
_PEERS = """
from bench.section import show
from bench.small_tasks.__main__ import found
from bench.systems.catalogue import peers
from bench.workers import bench

with bench() as made:
    made.without_persistence()
    show(found(made, [s for s in peers(2) if s.way in ("-p2 -t8", "stream -w2", "8 threads × 2")], ["no_op"], tasks=1000, rounds=1).section())
"""


def said(code: str) -> str:
    """What a process says that runs this: a bench changes its own environment, which is not to be that of other tests."""
    path = os.pathsep.join([str(ROOT / "services"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "error:" not in done.stderr, done.stderr
    return done.stdout


def rows(text: str) -> set[str]:
    """The beginnings of what was printed, as far as it is words."""
    return {line.split("  ")[0] for line in text.splitlines()}


def test_small_tasks_waits_footprint_and_growth_are_measured() -> None:
    """Each with a row for what was measured; nothing is lost, run twice, or left."""
    text = said(_OURS)
    wanted = {
        "Switchyard, solo -c 1 × 2", "Celery, solo -c 1 × 2", "Switchyard, gevent -c 100", "Celery, gevent -c 100", "clock",
        "supervisord", "200 items: time of each", "a busy queue beside 2 idle ones, and alone",
    }  # fmt: skip
    assert wanted <= rows(text), text
    assert "TASKS" not in text
    assert "NOT ACKNOWLEDGED" not in text


def test_peers_run_the_same_tasks() -> None:
    """What `make bench` has installed, or CI."""
    if not PEERS.exists() and not os.environ.get("CI"):
        pytest.skip("what `make bench` compares with is not installed")
    text = said(_PEERS)
    assert {"dramatiq, -p2 -t8", "taskiq, stream -w2", "huey, 8 threads × 2"} <= rows(text), text
    assert "TASKS" not in text
