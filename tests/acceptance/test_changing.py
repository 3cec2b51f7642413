"""Changing a deployment: adding a queue, stopping in mid-work, and what others do to it meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.acceptance.conftest import NEW_QUEUE, NEW_TASK, edit
from tests.checkout import wait_for_workflow, workflow_named_by
from tests.support import alive, eventually


def test_a_queue_is_one_table_and_no_other_worker_restarts(checkout):
    """The table, `make render`, `make up`: the new worker runs its tasks; the others keep their processes."""
    checkout.ok("up")
    before = checkout.pids()
    (checkout.folder / "services" / "returns.py").write_text(NEW_TASK)
    with (checkout.folder / "config" / "queues.toml").open("a") as file:
        file.write(NEW_QUEUE)

    assert "make render" in checkout.make("up").stdout  # stale: refused, and nothing has changed
    assert checkout.pids() == before
    checkout.ok("render")
    checkout.ok("up")

    after = checkout.pids()
    assert set(after) - set(before) == {"worker-returns_queue"}
    assert {name: after[name] for name in before} == before
    code = "from switchyard.producer import app; print(app.send_task('returns.count').get(timeout=30))"
    python = str(checkout.folder / ".venv" / "bin" / "python")
    environment = {**checkout.clean_environment(), "PYTHONPATH": "services"}
    done = subprocess.run(
        [python, "-c", code], cwd=checkout.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "42", done.stderr

    # A run-time key of one queue: its worker alone is started anew, and runs with it; once, not at every `make up`.
    assert '"level": "debug"' not in checkout.log("worker-returns_queue")
    for _ in range(2):
        checkout.ok("up", QUEUES__RETURNS_QUEUE__LOG_LEVEL="DEBUG")
        changed = checkout.pids()
        assert {name for name in changed if changed[name] != after[name]} == {"worker-returns_queue"}
    assert '"level": "debug"' in checkout.log("worker-returns_queue")
    assert changed == checkout.pids()

    # How much may wait is read again by whoever must know it.
    edit(checkout, "max_waiting = 10000", "max_waiting = 9999")
    checkout.ok("up", QUEUES__RETURNS_QUEUE__LOG_LEVEL="DEBUG")
    assert checkout.pids() == changed

    # What only those read that take events in: they alone start anew, and the event starts the new queue's task.
    events = checkout.folder / "config" / "events.toml"
    text = events.read_text()
    events.write_text(f'{text}\n[events."returns.asked"]\nworkflow = "returns.count"\npath = "/v1/returns"\n')
    checkout.ok("up", QUEUES__RETURNS_QUEUE__LOG_LEVEL="DEBUG")
    doors = {"producer", "consumer", "clock"}
    assert {name for name, pid in checkout.pids().items() if pid != changed[name]} == doors
    assert checkout.ended(checkout.ask("POST", "/v1/returns").headers["Location"])["result"] == 42

    # And it goes as it came.
    events.write_text(text)
    edit(checkout, NEW_QUEUE, "")
    checkout.ok("render")
    checkout.ok("up")
    assert set(checkout.pids()) == set(before)


def test_down_in_the_middle_of_a_refresh_and_up_again_completes_it(checkout):
    """Nothing is lost and nothing is counted twice; one callback."""
    checkout.ok("up")
    checkout.ask_supplier("PUT", "/knobs", {"latency_ms": 1000})  # of this supplier: the next one has forgotten it
    refresh = checkout.start_refresh(limit=20_000)
    workflow = workflow_named_by(refresh)
    eventually(lambda: checkout.refreshed_by(workflow) > 100, "the refresh to be under way")

    checkout.ok("down")
    done = checkout.refreshed_by(workflow)
    assert 100 < done < 20_000
    assert "Nothing was running." in checkout.ok("down")
    os.killpg(refresh.pid, signal.SIGKILL)
    refresh.communicate()
    checkout.ok("up")

    assert "20000 of 20000 done, 0 failed" in wait_for_workflow(checkout, workflow)
    assert checkout.refreshed_by(workflow) == 20_000
    assert (checkout.state / "supplier" / "keys").read_text().split().count(f"{workflow}/1") == 1


def test_a_second_up_at_the_same_time_is_told_so(checkout):
    """Two at once: one brings it up, the other names it or finds it done; both leave one whole deployment."""
    command = ["make", "up"]
    both = [
        subprocess.Popen(
            command,
            cwd=checkout.folder,
            env=checkout.clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes, outputs
    for code, output in zip(codes, outputs, strict=True):
        assert code == 0 or "is changing this deployment; nothing was done" in output
    eventually(lambda: set(checkout.states().values()) == {"ready"}, "all to be ready")


def test_events_that_are_refused_leave_the_deployment_as_it_is(up):
    """A mistake in events.toml is named with its key before anything is stopped."""
    up.ok("up")
    before = up.pids()
    file = up.folder / "config" / "events.toml"
    text = file.read_text()
    file.write_text(text + '\n[schedules.late]\nevent = "no.such.event"\nschedule = "0 3 * * *"\n')
    done = up.make("up")
    assert done.returncode != 0
    assert "events.toml: schedules.late.event" in done.stdout
    assert up.pids() == before
    eventually(lambda: set(up.states().values()) == {"ready"}, "all to be ready")
    file.write_text(text)


def test_a_killed_supervisor_takes_its_programs_along(up):
    """No orphan that nobody can stop: they end with it, and `make up` starts anew."""
    up.ok("up")
    pids = up.pids()
    os.kill(int((up.state / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in pids.values()), "every program to end")
    up.ok("up")
    assert set(up.pids()) == set(pids)


def test_a_stopped_program_is_back(up):
    """Somebody's SIGTERM, or Flower's shutdown button: what ended well is started again all the same."""
    up.ok("up")
    before = up.pids()["worker-coupons_report_queue"]
    os.kill(before, signal.SIGTERM)
    eventually(lambda: up.pids().get("worker-coupons_report_queue", before) != before, "the worker to be back")
    eventually(lambda: set(up.states().values()) == {"ready"}, "all to be ready")


def test_a_server_that_is_installed_later_does_not_get_the_data_of_another(up, tmp_path):
    """The deployment keeps the server that wrote its append-only file, whatever comes first on PATH."""
    up.ok("up")
    up.ok("down")
    later = tmp_path / "bin" / "redis-server"
    later.parent.mkdir()
    later.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v=99.0.0" && exit\nexit 1\n')
    later.chmod(0o755)
    up.ok("up", PATH=f"{later.parent}:{os.environ['PATH']}")
