"""A deployment in Docker, driven from outside: no stop, no kill and no change loses work, or touches what it is not about."""

from __future__ import annotations

import re

import pytest
from bench.stops import event, repeated, run
from tests.checkout import SWEPT, turned, wait_for_workflow, workflow_id_of, workflow_named_by
from tests.containers import begun, docker, health, inspected
from tests.support import eventually

pytestmark = pytest.mark.machine


# --- Nothing is lost


def test_stops_and_starts_under_load_lose_nothing(containers):
    """`docker compose stop` in mid-task on gevent and prefork, then `up --wait`; `make bench B=stops` does it twenty times."""
    made = {name: entry["Id"] for name, entry in inspected(containers).items()}
    ledger = run(containers, rounds=3)
    assert {name: entry["Id"] for name, entry in inspected(containers).items()} == made  # whose logs are counted
    assert len(ledger.accepted) == len(ledger.ended)
    assert ledger.lost == 0
    assert repeated(containers) == {}


def test_compose_itself_waits_until_all_is_ready(containers):
    """With the demo's seeder, which ends; a job that has ended well is nothing to wait for."""
    demo = {"COMPOSE_PROFILES": "demo"}
    containers.compose("stop", **demo)
    containers.compose("up", "--detach", "--wait", **demo)
    assert set(health(containers).values()) == {"healthy"}
    assert set(containers.states().values()) == {"ready"}


def test_what_was_killed_is_back_and_loses_nothing(containers):
    """`docker kill` counts as somebody's will, and `make up` brings back what it ended; the refresh goes on from where it was."""
    refresh = containers.start_refresh(limit=5000)
    workflow = workflow_named_by(refresh)
    eventually(lambda: containers.refreshed_by(workflow) > 100, "the refresh to be under way")
    killed = [entry["Id"] for entry in inspected(containers).values() if "Health" in entry["State"]]
    eventually(containers.is_written, "the start to be in Redis' file")
    assert docker("kill", *killed).returncode == 0
    assert "Everything is ready." in containers.ok("up")
    refresh.communicate(timeout=SWEPT)
    assert "5000 of 5000 done, 0 failed" in wait_for_workflow(containers, workflow)
    assert containers.refreshed_by(workflow) == 5000


# --- Changes


QUEUE = """
[queues.details_queue]
tasks = ["update_product_details"]
imports = ["demo.tasks.products"]
pool = "gevent"
concurrency = 4
"""


def test_a_queue_is_one_table_and_going_away_is_refused_while_it_has_work(containers):
    """Added: its container starts, no other restarts, its tasks go there. Removed: refused while one waits, runs or is delayed,
    FORCE=1 insists.
    """
    toml = containers.folder / "config" / "queues.toml"
    own = toml.read_text().replace('tasks = ["refresh_products", ', 'tasks = ["*"] #')
    toml.write_text(own)
    containers.ok("render")
    containers.ok("up")
    before = begun(containers)

    toml.write_text(own + QUEUE)
    containers.ok("render")
    containers.ok("up")
    assert {name: at for name, at in begun(containers).items() if name != "worker-details_queue"} == before
    workflow = workflow_id_of(containers.ok("start", "W=update_product_details", "ARGS=product_id=1000050"))
    assert workflow in containers.log("worker-details_queue")

    def tell(countdown: int = 0) -> None:
        """Send it a task, with its table there to route it, and gone again."""
        toml.write_text(own + QUEUE)
        task = f"app.send_task('update_product_details', args=[1000050], countdown={countdown})"
        containers.inside("worker-default", f"from demo.celery import app; {task}")
        toml.write_text(own)

    toml.write_text(own)
    containers.ok("render")
    with turned(
        containers, latency_ms=20_000
    ):  # an answer is given up after 10 s, and asked for three times: it runs for half a minute
        tell()
        eventually(lambda: "0 messages wait in it, 1 run and 0 are delayed" in refused_up(containers), "it to run")
    tell(countdown=3600)
    eventually(
        lambda: "0 messages wait in it, 0 run and 1 are delayed" in refused_up(containers), "the delayed one to be seen"
    )
    containers.compose("stop", "worker-details_queue")  # which has none of it
    assert "0 messages wait in it, 0 run and 1 are delayed" in refused_up(containers)
    tell()
    assert "1 messages wait in it, 0 run and 1 are delayed" in refused_up(containers)
    assert "worker-details_queue" in containers.states()
    containers.ok("up", FORCE="1")
    assert "worker-details_queue" not in containers.states()
    assert begun(containers) == before


def refused_up(up) -> str:
    """What a `make up` that must be refused says."""
    refused = up.make("up")
    assert refused.returncode != 0, refused.stdout
    return refused.stdout


#: What the demo's programs read is not known, so that a change of .env starts them anew.
UNKNOWN = {"supplier"}


def test_settings_of_one_queue_restart_its_container_only(containers):
    """A run-time key in .env; the others go on."""
    before = begun(containers)
    file = containers.folder / ".env"
    text = file.read_text()
    file.write_text(text + "QUEUES__SALES_REPORT_QUEUE__CONCURRENCY=2\n")
    containers.ok("up")
    after = begun(containers)
    assert {name for name in before if before[name] != after[name]} == {"worker-sales_report_queue", *UNKNOWN}
    file.write_text(text)
    containers.ok("up")


def test_code_is_mounted_for_developers_and_a_change_lets_running_tasks_finish(containers):
    """The overlay compose/dev.yml: an edit is what runs next, without a build, and without losing what runs now: a long task
    is taken once and ends, none is handed back.
    """
    files = {"COMPOSE_FILE": "docker-compose.yml:compose/dev.yml"}
    env = containers.folder / ".env"
    text = env.read_text()
    env.write_text(text + "".join(f"{name}={value}\n" for name, value in files.items()))
    containers.ok("up")
    refresh = containers.start_refresh(limit=2000)
    workflow = workflow_named_by(refresh)
    eventually(lambda: containers.refreshed_by(workflow) > 100, "the refresh to be under way")
    module = containers.folder / "services" / "demo" / "tasks" / "products.py"
    module.write_text(module.read_text().replace("successfully updated", "updated by hand"))
    refresh.communicate(timeout=SWEPT)
    assert "2000 of 2000 done, 0 failed" in wait_for_workflow(containers, workflow)
    assert repeated(containers) == {}
    eventually(
        lambda: "updated by hand" in containers.make("start", "W=update_product_details", "ARGS=product_id=1000050").stdout,
        "the edit to run",
    )  # fmt: skip
    eventually(lambda: set(health(containers).values()) == {"healthy"}, "all to be back after the edit", 120)

    before = len(taken(containers))
    with turned(containers, latency_ms=8000):
        containers.ask("POST", "/v1/events", event("product.updated", {"product_id": 1000050}))
        eventually(lambda: len(taken(containers)) > before, "it to run")
        report = containers.ask("POST", "/v1/events", event("report.requested", {"report": "sales"})).body["workflow"]
        eventually(lambda: "received" in containers.log("worker-sales_aggregator_queue"), "the report to run")
        module.write_text(module.read_text().replace("updated by hand", "updated again"))
        ended = re.escape(taken(containers)[-1]) + r"\] succeeded .*updated by hand"
        eventually(lambda: re.search(ended, containers.log("worker-default")), "it to end as what it began as")
    eventually(
        lambda: "updated again" in containers.make("start", "W=update_product_details", "ARGS=product_id=1000050").stdout,
        "the next edit to run",
    )  # fmt: skip
    assert ": done," in wait_for_workflow(containers, report)
    assert len({*taken(containers)}) == len(taken(containers))
    logs = containers.logs()
    assert "tasks_handed_back" not in logs
    assert "WorkerLostError" not in logs
    env.write_text(text)


def taken(up) -> list[str]:
    """The ids of the products' tasks that the worker has taken, each as often as that."""
    return re.findall(r"Task update_product_details\[([0-9a-f-]{36})\] received", up.log("worker-default"))


def test_a_placeholder_is_no_secret(containers):
    """Nothing is changed by a `make up` that is refused."""
    before = begun(containers)
    refused = containers.make("up", FLOWER_BASIC_AUTH="admin:change-me")
    assert refused.returncode != 0
    assert "FLOWER_BASIC_AUTH: its password is a placeholder" in refused.stdout
    assert "change-me" not in refused.stdout
    assert begun(containers) == before


def test_another_runtime_is_not_begun_by_accident(containers):
    """The first choice stays; leaving it says how."""
    moved = containers.make("up", RUNTIME="local")
    assert moved.returncode != 0
    assert "make down RUNTIME=docker" in moved.stdout


def test_down_keeps_what_was_done(containers):
    """The volumes stay: after `make up` the workflows are there, and the products."""
    workflow = workflow_id_of(containers.ok("start", "W=refresh_products", "ARGS=limit=50"))
    assert "Queues and products are kept" in containers.ok("down")
    assert inspected_names(containers) == set()
    containers.ok("up")
    assert ": done," in containers.ok("workflow", f"W={workflow}")
    assert containers.refreshed_by(workflow) == 50


def inspected_names(up) -> set[str]:
    """The containers that there are."""
    return set(
        docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={up.project}").stdout.split()
    )
