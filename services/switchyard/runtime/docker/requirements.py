"""What this machine, its engine and this checkout must have before containers are made; each refusal is a sentence."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from typing import Any
from urllib.parse import urlsplit

from switchyard.errors import ConfigError, RuntimeRefusal
from switchyard.queues import Queues
from switchyard.settings import ROOT, Settings

#: start_interval came with these; so did env_file's `required`.
OLDEST_ENGINE, OLDEST_COMPOSE = (25, 0), (2, 24)


def check(config: Settings, queues: Queues) -> None:
    """Raises RuntimeRefusal or ConfigError for what would fail later, and with other words."""
    versions_suffice()
    this_checkouts_folders(config)
    redis_is_no_containers_own(config)
    config_can_be_read()
    processors_suffice(queues)


def versions_suffice() -> None:
    """The engine and Compose are recent enough. Raises RuntimeRefusal."""
    engine = _said("docker", "version", "--format", "{{.Server.Version}}")
    if not engine:
        raise RuntimeRefusal("No Docker engine answers. Start it, or say RUNTIME=local for processes of this machine.")
    if version(engine) < OLDEST_ENGINE:
        raise RuntimeRefusal(
            f"The Docker engine is {engine}; {_dotted(OLDEST_ENGINE)} or later is needed, or RUNTIME=local."
        )
    compose = _said("docker", "compose", "version", "--short")
    if version(compose) < OLDEST_COMPOSE:
        found = f"is {compose}" if compose else "is not installed"
        raise RuntimeRefusal(f"Docker Compose {found}; {_dotted(OLDEST_COMPOSE)} or later is needed, or RUNTIME=local.")


def this_checkouts_folders(config: Settings) -> None:
    """Compose mounts config/ of this checkout. Raises ConfigError."""
    if config.config_dir != ROOT / "config":
        raise ConfigError(
            f"CONFIG_DIR: containers get the config/ of this checkout, got {str(config.config_dir)!r}; or RUNTIME=local."
        )


def redis_is_no_containers_own(config: Settings) -> None:
    """In a container, localhost is the container. Raises ConfigError."""
    for name in ("celery_broker_url", "celery_result_backend"):
        url = getattr(config, name)
        if url and urlsplit(url.get_secret_value()).hostname in ("localhost", "127.0.0.1", "::1"):
            raise ConfigError(
                f"{name.upper()}: its host is this machine itself, which for a container is the container. Name this machine by an "
                "address that containers reach, or say RUNTIME=local."
            )


def config_can_be_read() -> None:
    """A container's user is none of this machine's: it reads what everybody may read. Raises RuntimeRefusal."""
    for path in [ROOT / "config", *sorted((ROOT / "config").rglob("*"))]:
        if not path.exists():  # a link that an editor leaves beside a file it has open
            continue
        wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        if path.stat().st_mode & wanted != wanted:
            raise RuntimeRefusal(f"Containers cannot read {path.relative_to(ROOT)}: run `chmod -R o+rX config`.")


def processors_suffice(queues: Queues) -> None:
    """An engine refuses a limit beyond its processors. Raises ConfigError."""
    has = int(info().get("NCPU", 0))
    for queue in queues.by_name.values():
        if has and queue.cpus > has:
            raise ConfigError(f"queues.{queue.name}.cpus: {queue.cpus:g}, but the Docker engine has {has} processors.")


def info() -> dict[str, Any]:
    """What the engine says of itself; empty if it says nothing."""
    found: dict[str, Any] = json.loads(_said("docker", "info", "--format", "{{json .}}") or "{}")
    return found


def version(text: str) -> tuple[int, int]:
    """Major and minor; (0, 0) of what is no version."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _dotted(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
