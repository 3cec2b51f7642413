"""`docker compose` of this checkout: arguments in; its output, its exit code, or its containers out."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from switchyard.errors import SwitchyardError
from switchyard.settings import ROOT, Settings, environment, pip_authorities

#: What the image is made of: a commit that touches nothing of it makes no new image, and restarts nothing.
_OF_IMAGE = ("services", "requirements", "compose/Dockerfile", "compose/healthy")
#: Where this machine keeps the authorities that it trusts, a company's own included: Debian's place, and Red Hat's.
_AUTHORITIES = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
#: The overlay without a Redis of ours.
_EXTERNAL_REDIS = "compose/external-redis.yml"
ONE_OFF = "com.docker.compose.oneoff"
SERVICE = "com.docker.compose.service"
FOLDER = "com.docker.compose.project.working_dir"


@dataclass(frozen=True)
class Container:
    """A service's container as the engine sees it. `since` is seconds since the epoch; `health` is empty without a probe;
    `folder` is that of the checkout it was made from.
    """

    service: str
    id: str
    state: str
    health: str
    pid: int
    since: int
    exit_code: int
    said: str
    folder: str


class Compose:
    """Runs `docker compose` with this checkout's files. Methods raise SwitchyardError with Compose's own last words."""

    def __init__(self, config: Settings) -> None:
        self._config = config

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return ["docker", "compose", *arguments]

    @cached_property
    def environment(self) -> dict[str, str]:
        """What the files' ${…} are filled in with besides .env."""
        config = self._config
        files = config.compose_file.split(":")
        if config.celery_broker_url and _EXTERNAL_REDIS not in files:
            files.append(_EXTERNAL_REDIS)
        profiles = {*filter(None, config.compose_profiles.split(",")), *(["demo"] if config.demo else [])}
        authorities = config.build_ca or pip_authorities() or next(filter(Path.is_file, _AUTHORITIES), None)
        ours = {
            "COMPOSE_FILE": ":".join(files),
            "COMPOSE_PROFILES": ",".join(sorted(profiles)),
            "STATE_DIR": str(config.state_dir),
            "ARTEFACTS_HOST_DIR": str(config.artefacts_dir),
            "VERSION": _version(),
            "REVISION": _revision(),
            # A build reads the certificates, which lie outside of the checkout; newer Compose would ask whether it may.
            "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
            **({"BUILD_CA": str(authorities)} if authorities else {}),
        }
        return {**environment(), **ours}

    def read(self, *arguments: str, timeout_s: float = 60) -> str:
        """What a command prints that must succeed."""
        try:
            done = subprocess.run(self.command(*arguments), cwd=ROOT, env=self.environment, text=True, check=False,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s)  # fmt: skip
        except FileNotFoundError as exc:
            raise SwitchyardError("There is no `docker` command here; install Docker, or say RUNTIME=local.") from exc
        except subprocess.TimeoutExpired as exc:
            raise SwitchyardError(f"docker compose {arguments[0]} did not end within {timeout_s:g} s.") from exc
        if done.returncode != 0:
            raise SwitchyardError(f"docker compose {arguments[0]} failed:\n{_end(done.stderr or done.stdout)}")
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command whose two outputs are read together."""
        return subprocess.Popen(self.command(*arguments), cwd=ROOT, env=self.environment, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def call(self, *arguments: str) -> int:
        """Run a command on this terminal; its exit code."""
        return subprocess.run(self.command(*arguments), cwd=ROOT, env=self.environment, check=False).returncode

    @cached_property
    def model(self) -> dict[str, Any]:
        """The files as Compose understands them, with the profiles that are wanted."""
        found: dict[str, Any] = json.loads(self.read("config", "--format", "json"))
        return found

    def containers(self) -> list[Container]:
        """Every service's container, running or not; those of single commands left out."""
        # Not `docker compose ps`, which fails when a container is removed while it looks.
        project = f"label=com.docker.compose.project={self.model['name']}"
        ids = docker("ps", "--all", "--quiet", "--filter", project).split()
        found = [container for container in _inspected(ids) if container is not None]
        return sorted(found, key=lambda container: container.service)

    def stop(self, containers: Sequence[Container]) -> None:
        """Stop containers side by side, each within its own grace period, those included that are in no file any more."""
        if containers:
            docker("stop", *(container.id for container in containers))

    def remove(self, containers: Sequence[Container]) -> None:
        """Stop containers and remove them; their volumes stay."""
        self.stop(containers)
        docker("rm", *(container.id for container in containers))


def docker(*arguments: str) -> str:
    """What a `docker` command prints that must succeed. Raises SwitchyardError with its last words."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SwitchyardError(f"docker {arguments[0]} failed:\n{_end(done.stderr)}")
    return done.stdout


def _inspected(ids: Sequence[str]) -> list[Container | None]:
    if not ids:
        return []
    done = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=False)
    # One that was removed meanwhile is missing, and makes an exit code.
    return [_container(entry) for entry in json.loads(done.stdout or "[]")]


def _container(entry: Mapping[str, Any]) -> Container | None:
    state, labels = entry["State"], entry["Config"]["Labels"]
    if labels.get(ONE_OFF) == "True":
        return None
    health = state.get("Health") or {}
    log = health.get("Log") or [{}]
    return Container(
        service=labels[SERVICE],
        id=entry["Id"],
        state=state["Status"],
        health=health.get("Status", ""),
        pid=state["Pid"],
        since=_seconds(state["StartedAt"]),
        exit_code=state["ExitCode"],
        said=str(log[-1].get("Output", "")).strip(),
        folder=labels[FOLDER],
    )


def _seconds(text: str) -> int:
    # Nanoseconds are more than Python reads; one that never ran began in the year 1.
    began = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return max(0, int(began.timestamp()))


def _version() -> str:
    project: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text()).get("project", {})
    return project.get("version", "0")


def _revision() -> str:
    """The last commit that has touched what the image is made of."""
    try:
        commit = _git("log", "-1", "--format=%h", "--", *_OF_IMAGE)
        changed = _git("status", "--porcelain", "--", *_OF_IMAGE)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit or 'unknown'}{'-changed' if changed else ''}"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _end(text: str, lines: int = 15) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
