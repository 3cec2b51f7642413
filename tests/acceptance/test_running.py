"""A deployment that is up: what a newcomer sees, and that nothing one can do to its processes loses work."""

from __future__ import annotations

import base64
import os
import re
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.checkout import SWEPT, turned, wait_for_workflow, workflow_id_of, workflow_named_by
from tests.support import eventually, processes

RUNTIMES = ["local", pytest.param("docker", marks=pytest.mark.machine)]
pytestmark = pytest.mark.parametrize("up", RUNTIMES, indirect=True, scope="module")


def test_bare_make_is_a_grouped_help(up):
    """No argument, no harm: the targets in groups, none longer than one reads at a glance."""
    said = up.ok()
    assert said == up.ok("help")
    assert [line for line in said.splitlines() if line and not line.startswith(" ")] == [
        "Run it",
        "Give it work",
        "Look after it",
        "Change it",
    ]
    groups = said.strip().split("\n\n")
    assert [len(group.splitlines()[1:]) <= 7 for group in groups] == [True] * 4


def test_up_again_changes_nothing(up):
    """The second `make up` finds everything as it should be: the same processes, and the same secrets."""
    pids, password = up.pids(), (up.state / "secrets" / "redis_password").read_text()
    assert "Everything is ready." in up.ok("up")
    assert up.pids() == pids
    assert (up.state / "secrets" / "redis_password").read_text() == password


def test_up_says_what_to_open_and_what_to_try(up):
    """URLs, where the credentials are, and the next command."""
    said = up.ok("up")
    ports = [f"http://127.0.0.1:{up.ports[name]}" for name in ("API_PORT", "FLOWER_PORT")]
    for expected in (*ports, "/v1", "secrets/api_tokens", "secrets/flower_basic_auth", "make demo"):
        assert expected in said


def test_every_program_is_ready_and_every_queue_has_a_worker(up):
    """`make ps` shows one row per program, and all of them at work."""
    eventually(lambda: set(up.states().values()) == {"ready"}, "every program to be ready")
    workers = {"worker-default", "worker-coupons_report_queue", "worker-sales_aggregator_queue"}
    assert {*workers, "producer", "consumer", "clock", "flower", "redis", "supplier"} <= set(up.states())


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/healthcheck", "/workers", "/api/workers", "/static/css/flower.css", "/nowhere"]
)
def test_flower_never_opens_without_credentials(up, path):
    """401 on every path, the ones that Flower itself leaves open included; and with the credentials it works."""
    url = f"http://127.0.0.1:{up.ports['FLOWER_PORT']}{path}"
    for credentials in (None, "admin:wrong", ":"):
        request = urllib.request.Request(url)
        if credentials:
            request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code == 401
        refused.value.close()
    good = (up.state / "secrets" / "flower_basic_auth").read_text().strip()
    request = urllib.request.Request(
        url, headers={"Authorization": "Basic " + base64.b64encode(good.encode()).decode()}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
    except urllib.error.HTTPError as exc:
        with exc:
            assert (path, exc.code) in {("/nowhere", 404), ("/static/css/flower.css", 404)}


def test_secrets_are_nobodys_business(up):
    """Files of mode 0600; no secret in `ps`, with environments, nor in any log."""
    folder = up.state / "secrets"
    secrets = {file.name: file.read_text().strip() for file in folder.iterdir()}
    # One that is no token any more is as secret as one that is still.
    assert [up.ask("GET", "/v1/workflows", token=token).status for token in (up.token, up.token[:-1])] == [200, 401]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())
    shown = "".join(process["shown"] for process in processes().values())
    assert "switchyard" in shown
    logs = up.logs()
    assert "request_refused" in logs
    for secret in (secrets["redis_password"], secrets["flower_basic_auth"], up.token, up.token[:-1]):
        assert secret
        assert secret not in shown
        assert secret not in logs


def test_redis_refuses_without_the_password(up):
    """A process without the password learns nothing and changes nothing."""
    import redis

    with redis.Redis(*redis_address(up)) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def redis_address(up):
    """Where Redis listens, as seen from this machine; in containers no port is published, but root reaches the network."""
    if up.runtime == "local":
        return "127.0.0.1", up.ports["REDIS_PORT"]
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    command = ["docker", "inspect", "--format", template, up.container("redis")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip(), 6379


def test_nothing_is_kept_while_all_is_well(up):
    """No refused event, no message that is not due, no dead letter."""
    assert "No refused event is kept." in up.ok("refused")
    assert "No message is delayed." in up.ok("delayed")
    assert "No dead letter is kept." in up.ok("dead-letters")


def test_logs_are_one_file_per_queue_and_readable(up):
    """JSON in the files, sentences on the screen, for one queue or for all."""
    workflow = workflow_id_of(up.ok("start", "W=refresh_products", "ARGS=limit=3"))
    said = up.ok("logs", "Q=default")
    assert "workflow_started" in said
    assert workflow in said
    assert not said.startswith("{")
    assert workflow in up.log("worker-default")
    assert "coupons_report_queue" in up.ok("logs")


def test_a_refresh_updates_every_product_and_tells_the_supplier_once(up):
    """All products stored, the callback's POST received under one key; the whole catalogue is `make demo`, in CI."""
    said = up.ok("start", "W=refresh_products", "ARGS=limit=2000")
    assert "updated status" in said
    workflow = workflow_id_of(said)
    assert up.refreshed_by(workflow) == 2000
    assert up.supplier_keys().count(f"{workflow}/1") == 1


def test_failed_products_are_named_and_the_supplier_is_not_told(up):
    """One in ten answers fails: not all products are updated, no POST, and every failed id is listed. Replayed, they are updated, too,
    and the supplier is told.
    """
    with turned(up, failure_rate=0.1):
        refused = up.make("start", "W=refresh_products", "ARGS=limit=2000")
    assert refused.returncode == 2
    assert "not all products are updated" in refused.stdout
    workflow = workflow_id_of(refused.stdout)
    listed = up.make("workflow", f"W={workflow}").stdout
    failed = int(listed.split(" failed", 1)[0].split()[-1])
    assert 50 < failed < 500
    assert listed.count("  failed: ") == failed == 2000 - up.refreshed_by(workflow)
    assert workflow not in up.supplier_keys()
    assert "updated status" in up.ok("replay", f"W={workflow}")
    assert up.refreshed_by(workflow) == 2000
    assert up.supplier_keys().count(f"{workflow}/2") == 1


def test_a_workflow_that_is_cancelled_ends_where_it_is(up):
    """Whoever follows it is told; the rest is not refreshed, and the supplier is not told."""
    with turned(up, latency_ms=2000):
        refresh = up.start_refresh(limit=20_000)
        workflow = workflow_named_by(refresh)
        eventually(lambda: up.refreshed_by(workflow) > 0, "the refresh to be under way")
        assert "Nothing of it starts any more" in up.ok("cancel", f"W={workflow}")
        said, _ = refresh.communicate(timeout=SWEPT)
    assert refresh.returncode != 0
    assert "cancelled" in said
    assert f"{workflow}: cancelled, attempt 1" in up.make("workflow", f"W={workflow}").stdout
    assert 0 < up.refreshed_by(workflow) < 20_000
    assert workflow not in up.supplier_keys()


def test_a_report_is_two_files_of_this_machine(up):
    """Wherever it was made."""
    said = up.ok("report", "R=coupons")
    assert re.search(r"^Redemptions +2,102$", said, re.MULTILINE)
    files = re.findall(r"^(?:csv|html) +(/.*)$", said, re.MULTILINE)
    assert [Path(file.strip()).is_file() for file in files] == [True, True]


def test_a_task_that_nobody_knows_is_a_failed_workflow(up):
    """It is not waited for: the worker that got the message says that it knows no such task."""
    unknown = up.make("start", "W=no_such_task")
    assert unknown.returncode == 2
    assert "no worker knows the task 'no_such_task'" in unknown.stdout


def test_a_workers_stop_hands_its_queue_to_the_next(up):
    """`make restart Q=` in the middle of a refresh: every product exactly accounted for."""
    refresh = up.start_refresh(limit=3000)
    workflow = workflow_named_by(refresh)
    eventually(lambda: up.refreshed_by(workflow) > 100, "the refresh to be under way")
    before = up.pids()["worker-default"]
    up.ok("restart", "Q=default")
    assert up.pids()["worker-default"] != before
    output, _ = refresh.communicate(timeout=SWEPT)
    assert "3000 of 3000 done, 0 failed" in output
    assert up.refreshed_by(workflow) == 3000


@pytest.mark.parametrize(
    "program", ["redis", "producer", "consumer", "clock", "flower", "supplier", "worker-coupons_report_queue"]
)
def test_a_killed_program_is_back_and_the_refresh_completes(up, program):
    """kill -9 of any one process in mid-refresh: it is back, and every product is refreshed."""
    refresh = up.start_refresh(limit=3000)
    workflow = workflow_named_by(refresh)
    eventually(lambda: up.refreshed_by(workflow) > 100, "the refresh to be under way")
    killed = up.pids()[program]
    eventually(up.is_written, "the start to be in Redis' file")
    os.kill(killed, signal.SIGKILL)
    eventually(
        lambda: up.pids().get(program, killed) != killed and up.states().get(program) == "ready",
        f"{program} to be back",
    )
    refresh.communicate(timeout=SWEPT)
    said = wait_for_workflow(up, workflow)
    assert "3000 of 3000 done, 0 failed" in said
    assert up.refreshed_by(workflow) == 3000


def test_a_killed_starter_of_a_refresh_leaves_a_refresh_that_completes(up):
    """The process that started it, and shows its progress, is not needed any more."""
    refresh = up.start_refresh(limit=3000)
    workflow = workflow_named_by(refresh)
    os.killpg(refresh.pid, signal.SIGKILL)
    refresh.communicate()
    assert "3000 of 3000 done, 0 failed" in wait_for_workflow(up, workflow)
