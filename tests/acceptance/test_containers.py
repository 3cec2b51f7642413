"""A deployment in Docker, driven from outside: who reaches what, what its health says, and that no stop, kill or change loses work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from bench.stops import repeated, run
from tests.checkout import SWEPT, wait_for_workflow, workflow_id_of
from tests.support import eventually

pytestmark = pytest.mark.machine

#: Seconds within which whatever does not do its work must be called unhealthy.
SICK_S = 60


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`docker …`, whatever comes of it; both its outputs are in `stdout`."""
    return subprocess.run(
        ["docker", *arguments], text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120
    )


def inspected(up) -> dict[str, dict]:
    """What `docker inspect` shows of each service's container."""
    ids = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={up.project}").stdout.split()
    entries = json.loads(docker("inspect", *ids).stdout)
    return {entry["Config"]["Labels"]["com.docker.compose.service"]: entry for entry in entries}


def health(up) -> dict[str, str]:
    """The health of each container that has a probe."""
    return {name: e["State"]["Health"]["Status"] for name, e in inspected(up).items() if "Health" in e["State"]}


def begun(up) -> dict[str, tuple[str, int]]:
    """When each container was started, and how often it was started again; the seeder runs once for each `up`."""
    return {name: (e["State"]["StartedAt"], e["RestartCount"]) for name, e in inspected(up).items() if name != "seed"}


# --- Who reaches what


def test_only_the_door_and_flower_are_published_and_only_to_this_machine(containers):
    """Two ports, on 127.0.0.1."""
    ports = {name: e["NetworkSettings"]["Ports"] for name, e in inspected(containers).items()}
    published = {name: [p for found in bindings.values() for p in found or []] for name, bindings in ports.items()}
    assert {name for name, found in published.items() if found} == {"producer", "flower"}
    assert {p["HostIp"] for found in published.values() for p in found} == {"127.0.0.1"}


def test_no_secret_is_in_what_docker_shows(containers):
    """Neither in an environment nor in a command nor in a label; the files that hold them are their owner's."""
    shown = json.dumps(inspected(containers)) + docker("image", "inspect", f"{containers.project}-app").stdout
    folder = containers.state / "secrets"
    secrets = {file.name: file.read_text().strip() for file in folder.iterdir()} | {"token": containers.token}
    assert {"redis_worker_password", "redis_producer_password", "flower_basic_auth"} <= secrets.keys()
    assert [name for name, secret in secrets.items() if secret in shown] == []
    assert (containers.state / "containers").stat().st_mode & 0o077 == 0


def test_a_stranger_on_the_network_of_redis_learns_nothing(containers):
    """A container of somebody else's, even on that network, is refused without a password; others find no Redis."""
    ping = ("run", "--rm", "--pull", "never", "redis:8-trixie", "redis-cli", "-h", "redis", "-e", "ping")
    inside = docker(*ping[:2], "--network", f"{containers.project}_broker", *ping[2:])
    assert "NOAUTH" in inside.stdout
    assert docker(*ping).returncode != 0


@pytest.mark.parametrize(
    ("service", "allowed", "refused"),
    [
        # a worker runs tasks, and does not rule the server
        ("worker-default", ["PING", "LLEN default", "GET celery-task-meta-x"],
         ["FLUSHALL", "FLUSHDB", "CONFIG GET *", "SHUTDOWN NOSAVE", "KEYS *", "ACL LIST", "CLIENT LIST", "GET anything"]),
        # the doors publish, and read neither results nor queues, nor tell workers anything
        ("producer", ["PING", "LLEN default", "EXISTS switchyard:workflow:x"],
         ["GET celery-task-meta-x", "LRANGE default 0 -1", "PUBLISH /0.celery.pidbox x", "FLUSHALL", "CONFIG GET *", "SHUTDOWN"]),
    ],
)  # fmt: skip
def test_each_role_may_do_its_work_and_no_more(containers, service, allowed, refused):
    """As the users whose passwords the containers themselves have."""
    code = (
        "import json, redis\n"
        "client = redis.Redis.from_url(open('/run/switchyard/broker_url').read().strip())\n"
        "found = {}\n"
        f"for command in {[*allowed, *refused]!r}:\n"
        "    try:\n        client.execute_command(*command.split())\n        found[command] = 'allowed'\n"
        "    except redis.exceptions.NoPermissionError:\n        found[command] = 'refused'\n"
        "print(json.dumps(found))"
    )
    found = json.loads(containers.inside(service, code))
    assert found == dict.fromkeys(allowed, "allowed") | dict.fromkeys(refused, "refused")


def test_a_task_writes_to_its_volumes_and_to_memory_only(containers):
    """The image cannot be written to, there is no compiler, and nobody is root."""
    code = "import os; print(os.getuid()); open('/app/services/x', 'w')"
    with pytest.raises(AssertionError, match="Read-only file system"):
        containers.inside("worker-default", code)
    assert containers.inside("worker-default", "import os; print(os.getuid(), os.getgid())") == "10001 10001"
    tools = "import shutil; print([t for t in ('gcc', 'cc', 'pip', 'flower', 'redis-server') if shutil.which(t)])"
    assert containers.inside("worker-default", tools) == "[]"


def test_the_doctor_finds_nothing_to_mend(containers):
    """On a deployment that is up; and it names what is not upstream's."""
    said = containers.ok("doctor")
    assert "mend" not in said
    assert "runtime: docker" in said


def test_the_demo_does_the_same_in_containers(containers):
    """All 92,331 products, one POST under one key, three reports whose files are on this machine."""
    said = containers.ok("demo")
    for row in ("products in the store +92,331", "refreshed by this workflow +92,331", "callback said +updated status"):
        assert re.search(f"^{row} *$", said, re.MULTILINE), said
    assert re.search("^status posts, distinct keys +1, 1 *$", said, re.MULTILINE), said
    files = re.findall(r"^(?:csv|html) +(/.*)$", said, re.MULTILINE)
    assert len(files) == 6
    assert [file for file in files if not Path(file.strip()).is_file()] == []


# --- Health


def test_what_does_not_do_its_work_is_unhealthy_and_well_again_by_itself(containers):
    """A stuck worker, ones that are cut off, a clock that hangs, doors that do not reach Redis: each within a minute. What
    works is never called sick, and nothing is started anew. Who comes back has another address, so that none of its
    connections lives again.
    """
    before, network = begun(containers), f"{containers.project}_broker"
    stopped = [
        worker_process(containers, "worker-coupons_report_queue"),
        inspected(containers)["clock"]["State"]["Pid"],
    ]
    cut_off = ["worker-default", "worker-sales_report_queue", "consumer", "producer"]
    sick = {*cut_off, "worker-coupons_report_queue", "clock"}
    addresses = {name: address(containers, name, network) for name in cut_off}
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    for name in cut_off:
        assert docker("network", "disconnect", network, containers.container(name)).returncode == 0
    try:
        eventually(
            lambda: {n for n, h in health(containers).items() if h == "unhealthy"} >= sick,
            f"{sick} to be unhealthy",
            SICK_S,
        )
        assert {name for name, state in health(containers).items() if state != "healthy"} == sick
        assert "unhealthy" in containers.make("ps").stdout
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        # Docker gives the lowest address that is free: those that had the highest come first.
        for name in sorted(cut_off, key=addresses.__getitem__, reverse=True):
            docker("network", "connect", network, containers.container(name))
    assert [name for name in cut_off if address(containers, name, network) == addresses[name]] == []
    eventually(lambda: set(health(containers).values()) == {"healthy"}, "all to be healthy again")
    assert begun(containers) == before


def address(up, service: str, network: str) -> IPv4Address:
    """A service's address in this network."""
    return IPv4Address(inspected(up)[service]["NetworkSettings"]["Networks"][network]["IPAddress"])


def worker_process(up, service: str) -> int:
    """The pid, on this machine, of the worker that supervisord runs in a container."""
    listed = docker("top", up.container(service), "-eo", "pid,ppid,args").stdout.splitlines()[1:]
    first = str(inspected(up)[service]["State"]["Pid"])
    return int(next(line.split()[0] for line in listed if line.split()[1] == first))


def test_a_probe_leaves_nothing_behind_and_costs_little(containers):
    """No key in Redis, and 20 ms of processor time at most: a bash, and no Python."""
    keys = (
        "import redis; c = redis.Redis.from_url(open('/run/switchyard/broker_url').read().strip()); print(c.dbsize())"
    )
    before = containers.inside("worker-default", keys)
    script = "for i in $(seq 50); do healthy beat worker-default 10 || exit 1; done; times"
    spent = containers.compose("exec", "-T", "worker-default", "bash", "-c", script).splitlines()[-1]
    seconds = sum(float(part.split("m")[1].rstrip("s")) + 60 * float(part.split("m")[0]) for part in spent.split())
    assert seconds / 50 < 0.020
    assert containers.inside("worker-default", keys) == before


def test_redis_comes_back_under_all_of_them_and_nothing_is_started_anew(containers):
    """Stopped for longer than any timeout, then started: all are healthy again, and what it held is there."""
    workflow = workflow_id_of(containers.ok("start", "W=refresh_products", "ARGS=limit=50"))
    before = {name: at for name, at in begun(containers).items() if name != "redis"}
    docker("stop", containers.container("redis"))
    eventually(lambda: health(containers)["producer"] == "unhealthy", "the door to notice", SICK_S)
    docker("start", containers.container("redis"))
    eventually(lambda: set(health(containers).values()) == {"healthy"}, "all to be healthy again", 90)
    assert {name: at for name, at in begun(containers).items() if name != "redis"} == before
    assert ": done," in containers.ok("workflow", f"W={workflow}")


# --- Nothing is lost


def test_stops_and_starts_under_load_lose_nothing(containers):
    """`docker compose stop` in mid-task on gevent and prefork, then `up --wait`; `make bench B=stops` does it twenty times."""
    made = {name: entry["Id"] for name, entry in inspected(containers).items()}
    ledger = run(containers, rounds=3)
    assert {name: entry["Id"] for name, entry in inspected(containers).items()} == made  # whose logs are counted
    assert len(ledger.accepted) == len(ledger.ended)
    assert ledger.lost == 0
    assert repeated(containers) == 0


def test_what_was_killed_is_back_and_loses_nothing(containers):
    """`docker kill` counts as somebody's will, and `make up` brings back what it ended; the refresh goes on from where it was."""
    refresh = containers.start_refresh(limit=5000)
    workflow = workflow_id_of(refresh.stdout.readline())
    eventually(lambda: containers.refreshed_by(workflow) > 100, "the refresh to be under way")
    killed = ["redis", "producer", "flower", "consumer"]
    docker("kill", *map(containers.container, killed))
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
    """Added: its container starts, no other restarts, its tasks go there. Removed: refused while one waits, FORCE=1 insists."""
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

    later = "from demo.celery import app; app.send_task('update_product_details', args=[1000050], countdown=3600)"
    containers.inside("worker-details_queue", later)
    toml.write_text(own)
    containers.ok("render")
    eventually(
        lambda: "0 messages wait in it, 0 run and 1 are delayed" in refused_up(containers), "the delayed one to be seen"
    )
    containers.compose("stop", "worker-details_queue")  # which has none of it
    assert "0 messages wait in it, 0 run and 1 are delayed" in refused_up(containers)
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
    """The overlay compose/dev.yml: an edit is what runs next, without a build, and without losing what runs now."""
    files = {"COMPOSE_FILE": "docker-compose.yml:compose/dev.yml"}
    env = containers.folder / ".env"
    text = env.read_text()
    env.write_text(text + "".join(f"{name}={value}\n" for name, value in files.items()))
    containers.ok("up")
    refresh = containers.start_refresh(limit=2000)
    workflow = workflow_id_of(refresh.stdout.readline())
    eventually(lambda: containers.refreshed_by(workflow) > 100, "the refresh to be under way")
    module = containers.folder / "services" / "demo" / "tasks" / "products.py"
    module.write_text(module.read_text().replace("successfully updated", "updated by hand"))
    refresh.communicate(timeout=SWEPT)
    assert "2000 of 2000 done, 0 failed" in wait_for_workflow(containers, workflow)
    assert repeated(containers) == 0
    eventually(
        lambda: "updated by hand" in containers.make("start", "W=update_product_details", "ARGS=product_id=1000050").stdout,
        "the edit to run",
    )  # fmt: skip
    env.write_text(text)


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
