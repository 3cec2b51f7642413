"""Compose's files as Compose itself understands them: valid in every combination, and no container without what hardens it.

The client is needed, and no engine: nothing is built, pulled or started.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT, missing

from switchyard import queues
from switchyard.health import program_name
from switchyard.settings import Settings, secret_names

Service = Mapping[str, Any]

OVERLAYS = {
    "base": [],
    "dev": ["compose/dev.yml"],
    "external-redis": ["compose/external-redis.yml"],
    "dev and external-redis": ["compose/dev.yml", "compose/external-redis.yml"],
}
PROFILES = ["", "demo", "tools", "*"]

#: What a service is without, and why it may be.
REASONS = {
    "seed": {
        "healthcheck": "a job that ends; its exit code is its health",
        "stop_grace_period": "a job that ends; what it has not stored is stored by the next run",
    },
    "tools": {
        "healthcheck": "it lives as long as one command, whose exit code is a person's",
        "restart": "a command that fails is told, and not repeated",
        "stop_grace_period": "nobody's work runs in it",
    },
}
#: Those whose ports are published.
PUBLISHED = {"producer", "flower"}
#: What two queues' containers may differ in.
OF_QUEUE = ("environment", "mem_limit", "cpus", "stop_grace_period")
OF_QUEUES_ENVIRONMENT = ("QUEUE", "STOP_WAIT", "SETTINGS_FINGERPRINT")


@cache
def understood(overlay: str, profiles: str) -> dict[str, Any]:
    """The files as Compose understands them."""
    return read(["docker-compose.yml", *OVERLAYS[overlay]], profiles)


def read(files: Sequence[str], profiles: str, **settings: str) -> dict[str, Any]:
    """As JSON, without this machine's `.env` and variables."""
    command = ["docker", "compose", "--env-file", os.devnull]
    if not shutil.which("docker") or subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        missing("docker compose")
    others = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {
        **others,
        **settings,
        "COMPOSE_FILE": ":".join(files),
        "COMPOSE_PROFILES": profiles,
        "COMPOSE_PROJECT_NAME": "walked",
        "STATE_DIR": "/nowhere",
    }
    done = subprocess.run([*command, "config", "--format", "json"], cwd=ROOT, env=environment, capture_output=True,
                          text=True, check=False, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def services(overlay: str = "base", profiles: str = "*") -> dict[str, Service]:
    found: dict[str, Service] = understood(overlay, profiles)["services"]
    return found


def seconds(duration: str) -> float:
    """Of a duration as Compose writes it."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", duration))


# --- What hardens a container


def runs_as_somebody(service: Service) -> bool:
    return service.get("user", "").split(":")[0] not in ("", "0", "root")


def has_a_probe(service: Service) -> bool:
    probe = service.get("healthcheck", {})
    return bool(probe.get("test")) and probe["test"] != ["NONE"] and not probe.get("disable")


def logs_are_bounded(service: Service) -> bool:
    logging = service.get("logging", {})
    return logging.get("driver") in ("json-file", "local") and {"max-size", "max-file"} <= logging["options"].keys()


def shares_nothing_with_the_host(service: Service) -> bool:
    modes = [service.get(key) for key in ("network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup")]
    return not any(modes) and not service.get("devices")


def is_on_a_network_of_ours(service: Service) -> bool:
    return {*service.get("networks", {})} <= {"broker", "outside"} and bool(service.get("networks"))


def writes_to_volumes_only(service: Service) -> bool:
    return all(mount.get("read_only") for mount in service.get("volumes", []) if mount["type"] == "bind")


def has_no_hold_on_the_engine(service: Service) -> bool:
    return not any(str(mount.get("source", "")).endswith(".sock") for mount in service.get("volumes", []))


def is_published_on_loopback_only(service: Service) -> bool:
    return all(port.get("host_ip") == "127.0.0.1" for port in service.get("ports", []))


HARDENED: dict[str, Callable[[Service], object]] = {
    "user": runs_as_somebody,
    "read_only": lambda service: service.get("read_only") is True,
    "cap_drop": lambda service: service.get("cap_drop") == ["ALL"],
    "cap_add": lambda service: not service.get("cap_add"),
    "privileged": lambda service: not service.get("privileged"),
    "security_opt": lambda service: "no-new-privileges:true" in service.get("security_opt", []),
    "unconfined": lambda service: not any("unconfined" in option for option in service.get("security_opt", [])),
    "pids_limit": lambda service: 0 < service.get("pids_limit", 0) <= 512,
    "mem_limit": lambda service: int(service.get("mem_limit", 0)) > 0,
    "cpus": lambda service: float(service.get("cpus", 0)) > 0,
    "logging": logs_are_bounded,
    "restart": lambda service: service.get("restart") in ("unless-stopped", "always", "on-failure"),
    "healthcheck": has_a_probe,
    "stop_grace_period": lambda service: seconds(service.get("stop_grace_period") or "") > 0,
    "host": shares_nothing_with_the_host,
    "networks": is_on_a_network_of_ours,
    "volumes": writes_to_volumes_only,
    "docker.sock": has_no_hold_on_the_engine,
    "ports": is_published_on_loopback_only,
}


def lacks(service: Service) -> set[str]:
    """What a service should have and has not."""
    return {item for item, has in HARDENED.items() if not has(service)}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("profiles", PROFILES)
def test_every_combination_of_files_and_profiles_is_valid(overlay: str, profiles: str) -> None:
    """Without a warning, and with a worker for each queue; what a profile or an overlay brings or takes is all that changes."""
    found = {*services(overlay, profiles)}
    workers = {program_name(name) for name in queues.load(ROOT / "config", {}).by_name}
    everywhere = {"producer", "consumer", "clock", "flower"} | workers
    # `*` wants whatever has a profile.
    redis = {"redis"} if profiles == "*" or "external-redis" not in overlay else set()
    demo = {"seed", "supplier"} if profiles in ("demo", "*") and (ROOT / "compose" / "demo.yml").exists() else set()
    tools = {"tools"} if profiles in ("tools", "*") else set()
    assert found == everywhere | redis | demo | tools


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_service_is_without_what_hardens_it_but_for_a_reason(overlay: str) -> None:
    """Developing is no reason."""
    found = {name: lacks(service) for name, service in services(overlay).items()}
    assert {name: items for name, items in found.items() if items} == {
        name: {*reasons} for name, reasons in REASONS.items() if name in found
    }


HARMS: list[tuple[str, dict[str, Any]]] = [
    # taken away, or left empty
    *((item, {item: None}) for item in ("user", "read_only", "cap_drop", "security_opt", "restart", "networks")),
    ("pids_limit", {"pids_limit": 0}),
    ("mem_limit", {"mem_limit": "0"}),
    ("cpus", {"cpus": 0}),
    ("stop_grace_period", {"stop_grace_period": None}),
    ("logging", {"logging": {}}),
    ("healthcheck", {"healthcheck": {}}),
    # weakened
    ("user", {"user": "root"}),
    ("user", {"user": "0:10001"}),
    ("read_only", {"read_only": False}),
    ("cap_drop", {"cap_drop": ["NET_RAW"]}),
    ("pids_limit", {"pids_limit": -1}),
    ("security_opt", {"security_opt": ["no-new-privileges:false"]}),
    ("logging", {"logging": {"driver": "json-file", "options": {"max-size": "20m"}}}),
    ("restart", {"restart": "no"}),
    ("healthcheck", {"healthcheck": {"test": ["CMD", "true"], "disable": True}}),
    ("healthcheck", {"healthcheck": {"test": ["NONE"]}}),
    # opened
    ("cap_add", {"cap_add": ["SYS_ADMIN"]}),
    ("privileged", {"privileged": True}),
    ("unconfined", {"security_opt": ["no-new-privileges:true", "seccomp=unconfined"]}),
    *(("host", {key: "host"}) for key in ("network_mode", "pid", "ipc")),
    ("networks", {"networks": {"default": None}}),
    ("volumes", {"volumes": [{"type": "bind", "source": "/work", "target": "/app"}]}),
    ("docker.sock", {"volumes": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/s", "read_only": True}]}),
    ("ports", {"ports": [{"target": 8000, "published": "8000"}]}),
    ("ports", {"ports": [{"target": 8000, "published": "8000", "host_ip": "0.0.0.0"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("item", "harm"), HARMS)
def test_the_check_above_sees_what_is_taken_away_weakened_or_opened(item: str, harm: dict[str, Any]) -> None:
    """A check that finds nothing must be able to find something."""
    harmed = {**services()["worker-default"], **harm}
    assert lacks({key: value for key, value in harmed.items() if value is not None}) == {item}


# --- Who is reached by whom


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_the_http_door_and_flower_are_published(overlay: str) -> None:
    """Where only this machine comes to them."""
    assert {name for name, service in services(overlay).items() if service.get("ports")} == PUBLISHED


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_redis_is_reached_by_those_who_work_with_it_and_by_nobody_from_outside(overlay: str) -> None:
    """Its network has no way out and no way in; who has no business with it is not on it."""
    assert understood(overlay, "*")["networks"]["broker"]["internal"] is True
    found = services(overlay)
    assert {*found["redis"]["networks"]} == {"broker"}
    assert {name for name, service in found.items() if "broker" not in service["networks"]} <= {"seed", "supplier"}
    assert not found["redis"].get("ports")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_container_sees_the_secrets_of_its_role_only(overlay: str) -> None:
    """One folder of them each; none in its environment, where `docker inspect` shows it."""
    roles = {"redis": "redis", "flower": "flower", "seed": "demo", "supplier": "demo"}
    roles |= dict.fromkeys(("producer", "consumer", "clock", "tools"), "producer")
    for name, service in services(overlay).items():
        mounted = [mount["source"] for mount in service["volumes"] if mount["source"].startswith("/nowhere")]
        assert mounted == [f"/nowhere/containers/{roles.get(name, 'worker')}"]
        assert not {key.lower() for key in service.get("environment", {})} & {*secret_names(Settings)}


# --- Queues


def workers(overlay: str = "base") -> dict[str, Service]:
    return {name: service for name, service in services(overlay, "").items() if name.startswith("worker-")}


def test_queues_containers_differ_in_nothing_but_what_is_a_queues() -> None:
    """Its name, how long its stop may take, and its limits."""
    alike = []
    for service in workers().values():
        rest = {key: value for key, value in service.items() if key not in OF_QUEUE}
        environment = {key: value for key, value in service["environment"].items() if key not in OF_QUEUES_ENVIRONMENT}
        alike.append({**rest, "environment": environment})
    assert alike == [alike[0]] * len(alike)
    assert {service["environment"]["QUEUE"] for service in workers().values()} == {
        name.removeprefix("worker-") for name in workers()
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_whoever_waits_for_a_stop_waits_longer_than_whom_it_stops(overlay: str) -> None:
    """A worker for its tasks, supervisord for the worker, Docker for supervisord; a reload as supervisord."""
    found = queues.load(ROOT / "config", {})
    for service in workers(overlay).values():
        queue, stop_wait = found[service["environment"]["QUEUE"]], int(service["environment"]["STOP_WAIT"])
        assert queue.drain < stop_wait < seconds(service["stop_grace_period"])
        if "dev" in overlay:
            assert service["command"][:3] == ["watchfiles", "--sigint-timeout", str(stop_wait)]
        else:
            assert service["command"][0] == "supervisord"


def test_a_container_has_the_memory_of_its_queue_and_some_for_itself() -> None:
    """The kernel must not end what the queue's own limit would."""
    found = queues.load(ROOT / "config", {})
    for service in workers().values():
        queue = found[service["environment"]["QUEUE"]]
        assert queue.memory < int(service["mem_limit"]) <= queue.memory + 128 * 1024**2
        assert service["cpus"] == queue.cpus


def test_redis_refuses_new_work_before_the_kernel_ends_it() -> None:
    """What it may keep is well below its container's limit: it rewrites its file in the rest."""
    redis = services()["redis"]
    keeps = redis["command"][redis["command"].index("--maxmemory") + 1]
    assert int(keeps.removesuffix("mb")) * 1024**2 * 1.5 < int(redis["mem_limit"])


# --- Logs


def test_logs_go_where_a_setting_or_an_overlay_says(tmp_path: Path) -> None:
    """Of every service by LOG_DRIVER, with its bounds; of one by the overlay that docs/docker.md shows."""
    found = read(["docker-compose.yml"], "*", LOG_DRIVER="local")["services"].values()
    assert {service["logging"]["driver"] for service in found} == {"local"}
    assert all(map(logs_are_bounded, found))
    (shown,) = re.findall("`(logging: !override [^`]+)`", (ROOT / "docs" / "docker.md").read_text())
    overlay = tmp_path / "logs.yml"
    overlay.write_text(f"services:\n  producer:\n    {shown}\n")
    found = read(["docker-compose.yml", str(overlay)], "*")["services"]
    assert found["producer"]["logging"] == {"driver": "journald"}
    assert logs_are_bounded(found["consumer"])
