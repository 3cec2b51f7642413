"""Changing a deployment: adding a queue, stopping in mid-work, and every way to get it wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest
import redis
from tests.checkout import wait_for_workflow, workflow_id_of
from tests.support import ROOT, alive, eventually

NEW_QUEUE = '\n[queues.returns_queue]\ntasks = ["returns.*"]\nimports = ["returns"]\npool = "solo"\n'
NEW_TASK = 'from celery import shared_task\n\n\n@shared_task(name="returns.count")\ndef count():\n    return 42\n'


def edit(checkout, old: str, new: str) -> None:
    """Replace text in the checkout's queues.toml."""
    file = checkout.folder / "config" / "queues.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


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
    refresh = checkout.start_refresh(limit=6000)
    workflow = workflow_id_of(refresh.stdout.readline())
    eventually(lambda: checkout.refreshed_by(workflow) > 100, "the refresh to be under way")

    checkout.ok("down")
    done = checkout.refreshed_by(workflow)
    assert 100 < done < 6000
    assert "Nothing was running." in checkout.ok("down")
    os.killpg(refresh.pid, signal.SIGKILL)
    refresh.communicate()
    checkout.ok("up")

    assert "6000 of 6000 done, 0 failed" in wait_for_workflow(checkout, workflow)
    assert checkout.refreshed_by(workflow) == 6000
    assert (checkout.state / "supplier" / "keys").read_text().split().count(f"{workflow}/1") == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # a misspelt key
        (
            "concurrency = 16",
            "concurency = 16",
            "queues.toml: queues.default.concurency: unknown key. Did you mean 'concurrency'?",
        ),
        # a glob that matches nothing
        (
            '"refresh_products"',
            '"refresh_prodcts"',
            "'refresh_prodcts' matches no task. Did you mean 'refresh_products'?",
        ),
        # a task that two queues claim
        (
            "[reports.coupons]",
            '[queues.other_queue]\ntasks = ["update_*"]\n\n[reports.coupons]',
            "'update_product_details' is taken by default and by other_queue",
        ),
        # a task that no queue takes
        ('"refresh_products_plain", ', "", "'refresh_products_plain' is taken by no queue"),
        # a module that does not import, named with its traceback
        (
            '["demo.tasks.products"]',
            '["demo.tasks.nowhere"]',
            "ModuleNotFoundError: No module named 'demo.tasks.nowhere'",
        ),
        # a broken file
        ("[queues.default]", "[queues.default", "is not valid TOML"),
    ],
)
def test_a_bad_queues_file_is_refused_with_the_key(checkout, old, new, expected):
    """`make render` says what is wrong and where, and writes nothing."""
    before = (checkout.folder / "config" / "supervisor" / "queues.conf").read_text()
    edit(checkout, old, new)
    done = checkout.make("render")
    assert done.returncode != 0
    assert expected in done.stdout
    assert (checkout.folder / "config" / "supervisor" / "queues.conf").read_text() == before


def test_a_module_that_breaks_later_is_named_and_the_other_queues_run(checkout):
    """Rendered when it was whole, broken when it starts: `make up` shows its traceback; the rest is ready."""
    (checkout.folder / "services" / "returns.py").write_text(NEW_TASK)
    with (checkout.folder / "config" / "queues.toml").open("a") as file:
        file.write(NEW_QUEUE)
    checkout.ok("render")
    (checkout.folder / "services" / "returns.py").write_text("import nothing_of_that_name\n")

    done = checkout.make("up")

    assert done.returncode != 0
    assert "worker-returns_queue did not become ready" in done.stdout
    assert "No module named 'nothing_of_that_name'" in done.stdout
    assert {name for name, state in checkout.states().items() if state == "ready"} >= {
        "worker-default",
        "worker-coupons_report_queue",
        "redis",
    }
    (checkout.folder / "services" / "returns.py").write_text(NEW_TASK)
    checkout.ok("up")


@pytest.mark.parametrize("variable", ["REDIS_PORT", "API_PORT"])
def test_a_port_in_use_is_named_before_anything_starts(checkout, variable):
    """The variable to set is in the sentence, and no process was left behind."""
    import socket

    with socket.create_server(("127.0.0.1", checkout.ports[variable])):
        done = checkout.make("up")
    assert done.returncode != 0
    assert f"Port {checkout.ports[variable]} is in use; set {variable}" in done.stdout
    assert "not up" in checkout.make("ps").stdout


def test_events_that_are_refused_leave_the_deployment_as_it_is(checkout):
    """A mistake in events.toml is named with its key before anything is stopped."""
    checkout.ok("up")
    before = checkout.pids()
    with (checkout.folder / "config" / "events.toml").open("a") as file:
        file.write('\n[schedules.late]\nevent = "no.such.event"\nschedule = "0 3 * * *"\n')
    done = checkout.make("up")
    assert done.returncode != 0
    assert "events.toml: schedules.late.event" in done.stdout
    assert checkout.pids() == before
    assert set(checkout.states().values()) == {"ready"}


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
    assert set(checkout.states().values()) == {"ready"}


def test_a_killed_supervisor_takes_its_programs_along(checkout):
    """No orphan that nobody can stop: they end with it, and `make up` starts anew."""
    checkout.ok("up")
    pids = checkout.pids()
    os.kill(int((checkout.state / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in pids.values()), "every program to end")
    checkout.ok("up")
    assert set(checkout.pids()) == set(pids)


def test_a_stopped_program_is_back(checkout):
    """Somebody's SIGTERM, or Flower's shutdown button: what ended well is started again all the same."""
    checkout.ok("up")
    before = checkout.pids()["worker-coupons_report_queue"]
    os.kill(before, signal.SIGTERM)
    eventually(lambda: checkout.pids().get("worker-coupons_report_queue", before) != before, "the worker to be back")
    eventually(lambda: set(checkout.states().values()) == {"ready"}, "all to be ready")


def test_a_server_that_is_installed_later_does_not_get_the_data_of_another(checkout, tmp_path):
    """The deployment keeps the server that wrote its append-only file, whatever comes first on PATH."""
    checkout.ok("up")
    checkout.ok("down")
    later = tmp_path / "bin" / "redis-server"
    later.parent.mkdir()
    later.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v=99.0.0" && exit\nexit 1\n')
    later.chmod(0o755)
    checkout.ok("up", PATH=f"{later.parent}:{os.environ['PATH']}")


def test_a_redis_that_cannot_start_is_told_at_once(checkout):
    """A damaged append-only file: its log is shown, and not those of all who wait for it."""
    checkout.ok("up")
    checkout.ok("down")
    for file in (checkout.state / "redis" / "appendonlydir").glob("*.base.*"):
        file.write_bytes(b"REDIS9999 this is no such file")
    said = checkout.make("up").stdout
    assert "redis did not become ready" in said
    assert "append only file" in said
    assert "worker-default did not" not in said


def test_a_broken_csv_keeps_its_good_rows(checkout):
    """Malformed rows are reported by their line; the rest is in the store."""
    file = checkout.folder / "mine.csv"
    file.write_text("product_id,department\n1,GROCERY\nabc,GROCERY\n2,PASTRY\n2,TWICE\n")
    said = checkout.make("seed", f"FILE={file}").stdout
    assert "line 3" in said
    assert "line 5" in said
    assert "kept 2, refused 2" in said


@pytest.mark.machine
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root, to mount a small disk")
def test_a_full_disk_is_a_sentence_and_loses_nothing(checkout):
    """Too little room: `make up` refuses. A disk that fills later: workers wait, and work goes on when there is room."""
    disk = checkout.folder / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        checkout.env((checkout.folder / ".env").read_text() + f"STATE_DIR={disk}\n")
        done = checkout.make("up")
        assert done.returncode != 0
        assert "Redis' append-only file needs" in done.stdout
        subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)
        checkout.ok("up")
        _fill(disk)
        eventually(lambda: _refuses_writes(checkout, disk), "Redis to have met the full disk")
        refused = checkout.make("start", "W=refresh_products", "ARGS=limit=500")
        assert refused.returncode != 0
        assert "No space left on device" in refused.stdout
        (disk / "ballast").unlink()
        eventually(
            lambda: "updated status" in checkout.make("start", "W=refresh_products", "ARGS=limit=500").stdout,
            "room to be used",
        )
    finally:
        checkout.make("down")
        subprocess.run(["umount", "-l", disk], check=False)


def _refuses_writes(checkout, disk) -> bool:
    """Write until Redis says no: the last page of its file may have had room for a little."""
    password = (disk / "secrets" / "redis_password").read_text().strip()
    with redis.Redis(port=checkout.ports["REDIS_PORT"], password=password) as client:
        try:
            client.set("filler", b"x" * 4096)
        except redis.ResponseError as exc:
            return "No space left on device" in str(exc)
    return False


def _fill(disk) -> None:
    """Leave no room at all, not even for what Redis writes next."""
    # Without a buffer: what it still held would be written, and fail, once more at the end.
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            return


def test_the_readmes_files_are_the_ones_in_the_repository():
    """Nothing the README links to is missing."""
    import re

    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
