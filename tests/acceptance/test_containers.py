"""A deployment in Docker, driven from outside: who reaches what, and what its health says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from bench.probes import probes, seconds_of
from bench.stops import event
from tests.checkout import workflow_id_of
from tests.containers import begun, docker, health, inspected
from tests.support import ROOT, eventually

pytestmark = pytest.mark.machine

#: Seconds within which whatever does not do its work must be called unhealthy: a sign of life may be 20 old, and three probes take 30.
SICK_S = 60
#: How many tasks the queue `default` runs at once.
SLOTS = 16
#: Asked in a worker's container: how many messages workers hold, the same with those that wait in `default`, and how many keys there are.
BROKER = "import redis; broker = redis.Redis.from_url(open('/run/switchyard/broker_url').read().strip()); "
HELD = f"{BROKER}print(broker.hlen('unacked'))"
SENT = f"{BROKER}print(broker.hlen('unacked') + broker.llen('default'))"
KEYS = f"{BROKER}print(broker.dbsize())"


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
    """A container of somebody else's, even on that network, is refused without a password; on others no Redis answers, be it asked
    by its address.
    """
    ping = ("run", "--rm", "--pull", "never", "--network")
    image, client = "redis:8-trixie", ("redis-cli", "-e", "-h")
    network = f"{containers.project}_broker"
    assert "NOAUTH" in docker(*ping, network, image, "timeout", "30", *client, "redis", "ping").stdout
    for other in ("bridge", f"{containers.project}_outside"):
        for name in ("redis", str(address(containers, "redis", network))):
            answer = docker(*ping, other, image, "timeout", "3", *client, name, "ping")
            assert answer.returncode != 0
            assert "NOAUTH" not in answer.stdout


@pytest.mark.parametrize("place", ["its own container", "a stranger's container", "this machine"])
@pytest.mark.parametrize(
    ("role", "allowed", "refused"),
    [
        # a worker runs tasks, and does not rule the server
        ("worker", ["PING", "LLEN default", "GET celery-task-meta-x"],
         ["FLUSHALL", "FLUSHDB", "CONFIG GET *", "SHUTDOWN NOSAVE", "KEYS *", "ACL LIST", "CLIENT LIST", "GET anything"]),
        # the doors publish, and read neither results nor queues, nor tell workers anything
        ("producer", ["PING", "LLEN default", "EXISTS switchyard:workflow:x"],
         ["GET celery-task-meta-x", "LRANGE default 0 -1", "PUBLISH /0.celery.pidbox x", "FLUSHALL", "CONFIG GET *", "SHUTDOWN"]),
    ],
)  # fmt: skip
def test_each_role_may_do_its_work_and_no_more(containers, place, role, allowed, refused):
    """With the password that the role's containers have, wherever it is used from."""
    url = (containers.state / "containers" / role / "broker_url").read_text()
    if place == "this machine":
        url = url.replace("@redis:", f"@{address(containers, 'redis', f'{containers.project}_broker')}:")
    code = (
        "import json, redis\n"
        f"client = redis.Redis.from_url({url!r})\n"
        "found = {}\n"
        f"for command in {[*allowed, *refused]!r}:\n"
        "    try:\n        client.execute_command(*command.split())\n        found[command] = 'allowed'\n"
        "    except redis.exceptions.NoPermissionError:\n        found[command] = 'refused'\n"
        "print(json.dumps(found))"
    )
    found = json.loads(run_at(containers, place, {"worker": "worker-default"}.get(role, role), code))
    assert found == dict.fromkeys(allowed, "allowed") | dict.fromkeys(refused, "refused")


def run_at(up, place: str, service: str, code: str, network: str = "broker") -> str:
    """What a Python program prints in this place."""
    if place == "its own container":
        return up.inside(service, code)
    if place == "this machine":
        command = [sys.executable, "-c", code]
    else:
        command = ["docker", "run", "--rm", "--pull", "never", "--network", f"{up.project}_{network}", f"{up.project}-app",
                   "python", "-c", code]  # fmt: skip
    done = subprocess.run(command, text=True, check=False, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("network", ["broker", "outside"])
def test_flower_asks_a_strangers_container_for_credentials_on_every_path(containers, network):
    """As it asks this machine."""
    paths = ["/", "/metrics", "/healthcheck", "/workers", "/api/workers", "/static/css/flower.css", "/nowhere"]
    code = (
        "import json, urllib.error, urllib.request\n"
        "found = {}\n"
        f"for path in {paths!r}:\n"
        "    try:\n        found[path] = urllib.request.urlopen('http://flower:5555' + path, timeout=10).status\n"
        "    except urllib.error.HTTPError as exc:\n        found[path] = exc.code\n"
        "print(json.dumps(found))"
    )
    assert json.loads(run_at(containers, "a stranger's container", "", code, network)) == dict.fromkeys(paths, 401)


def test_a_task_writes_to_its_volumes_and_to_memory_only(containers):
    """The image cannot be written to, there is no compiler, and nobody is root."""
    code = "import os; print(os.getuid()); open('/app/services/x', 'w')"
    with pytest.raises(AssertionError, match="Read-only file system"):
        containers.inside("worker-default", code)
    assert containers.inside("worker-default", "import os; print(os.getuid(), os.getgid())") == "10001 10001"
    tools = "import shutil; print([t for t in ('gcc', 'cc', 'pip', 'flower', 'redis-server') if shutil.which(t)])"
    assert containers.inside("worker-default", tools) == "[]"


def test_an_image_says_what_it_is_made_of_and_a_change_of_a_task_makes_one_layer(containers):
    """Its version and its revision are labels; packages and core are layers of before."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for image in ("app", "flower"):
        labels = image_of(containers, image)["Config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == version
        assert labels["org.opencontainers.image.revision"]
    before = image_of(containers, "app")["RootFS"]["Layers"]
    module = containers.folder / "services" / "demo" / "tasks" / "products.py"
    text = module.read_text()
    module.write_text(text + "\n# A change.\n")
    containers.compose("build", "producer")
    module.write_text(text)
    after = image_of(containers, "app")["RootFS"]["Layers"]
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]


def image_of(up, name: str) -> dict:
    """What `docker inspect` shows of an image of this deployment."""
    return json.loads(docker("image", "inspect", f"{up.project}-{name}").stdout)[0]


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


def test_what_hangs_is_unhealthy_and_a_worker_that_waits_for_it_is_only_busy(containers):
    """Doors and a monitor that are stopped, and not cut off. The supplier is, too: every slot of a worker waits for it,
    longer than anything may be silent, and the worker is healthy all the while.
    """
    before, hanging = begun(containers), ["supplier", "producer", "consumer", "flower"]
    pids = [inspected(containers)[name]["State"]["Pid"] for name in hanging]

    def sick() -> set[str]:
        found = health(containers)
        assert found["worker-default"] == "healthy"
        return {name for name, state in found.items() if state != "healthy"}

    try:
        os.kill(pids[0], signal.SIGSTOP)  # before there is anything to ask it for
        # Four for each slot: a task gives the supplier half a minute.
        events = [event("product.updated", {"product_id": 1000050 + number}) for number in range(4 * SLOTS)]
        accepted = [containers.ask("POST", "/v1/events", told).headers["Location"] for told in events]
        eventually(lambda: int(containers.inside("worker-default", SENT)) >= 4 * SLOTS, "all of them to be sent")
        eventually(lambda: int(containers.inside("worker-default", HELD)) >= SLOTS, "all slots to wait for it")
        for pid in pids[1:]:
            os.kill(pid, signal.SIGSTOP)
        eventually(lambda: sick() == {*hanging}, f"{hanging} to be unhealthy", SICK_S)
        assert int(containers.inside("worker-default", HELD)) >= SLOTS
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    eventually(lambda: sick() == set(), "all to be healthy again")
    assert begun(containers) == before
    assert {containers.ended(workflow)["state"] for workflow in accepted} == {"done"}


def address(up, service: str, network: str) -> IPv4Address:
    """A service's address in this network."""
    return IPv4Address(inspected(up)[service]["NetworkSettings"]["Networks"][network]["IPAddress"])


def worker_process(up, service: str) -> int:
    """The pid, on this machine, of the worker that supervisord runs in a container."""
    listed = docker("top", up.container(service), "-eo", "pid,ppid,args").stdout.splitlines()[1:]
    first = str(inspected(up)[service]["State"]["Pid"])
    return int(next(line.split()[0] for line in listed if line.split()[1] == first))


def test_a_probe_leaves_nothing_behind_and_costs_little(containers):
    """No key in Redis; and a bash's processor time, whichever service's, where a Python that asks Redis takes many times that.
    `make bench B=probes` has the milliseconds of each.
    """
    before = int(containers.inside("worker-default", KEYS))
    found = probes(containers)
    assert found.keys() == health(containers).keys()
    cost = {service: seconds_of(containers, service, probe, times=20) for service, probe in found.items()}
    python = seconds_of(containers, "worker-default", "python -c 'import redis'", times=5)
    assert {service: seconds for service, seconds in cost.items() if seconds > python / 4} == {}
    # A queue's list comes and goes with what the clock sends.
    eventually(lambda: int(containers.inside("worker-default", KEYS)) <= before, "no key more than before")


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
