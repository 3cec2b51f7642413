"""A Python module in; run in a container of its own, where Redis is reached, its exit code and reports' files out."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from switchyard.errors import SwitchyardError
from switchyard.runtime.docker.compose import Compose
from switchyard.settings import ROOT, Settings, environment, secret_names

#: Settings that containers have of their own.
_OF_CONTAINERS = {"API_TOKENS_FILE", "ARTEFACTS_DIR", "ARTEFACTS_HOST_DIR", "CONFIG_DIR", "LISTEN_ADDRESS", "NODE_HOST", "RUNTIME",
                  "STATE_DIR", "SUPPLIER_HOST", "SUPPLIER_PORT"}  # fmt: skip


def run_inside(config: Settings, module: str, arguments: Sequence[str]) -> int:
    """Run a Python module in a container of its own, and bring reports' files to this machine; its exit code.

    A file of this machine among the arguments is there as well, to be read.
    """
    compose = Compose(config)
    if not compose.containers():
        raise SwitchyardError("The deployment is not up; run `make up`.")
    mounts: list[str] = []
    inside: list[str] = []
    for argument in arguments:
        file = Path(argument)
        if file.is_file():
            mounts += ["--volume", f"{file.resolve()}:/mnt/{file.name}:ro"]
        inside.append(f"/mnt/{file.name}" if file.is_file() else argument)
    terminal = [] if sys.stdin.isatty() and sys.stdout.isatty() else ["-T"]
    given = [part for name in _given() for part in ("--env", name)]
    code = compose.call(
        "run", "--rm", "--no-deps", *terminal, *given, *mounts, "tools", "python", "-m", module, *inside
    )
    if module == "demo" or arguments[:1] in (["report"], ["start"]):
        _fetch_artefacts(config, compose)
    return code


def _given() -> list[str]:
    """The settings of .env.example that this command was given, such as `make demo SUPPLIER_FAILURE_RATE=0.01`.

    No addresses: they are a container's own, and may hold a password, which `docker inspect` would show.
    """
    known = set(re.findall(r"^#?([A-Z][A-Z_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    not_theirs = _OF_CONTAINERS | {secret.upper() for secret in secret_names(Settings)}
    theirs = {name for name in known - not_theirs if not name.startswith("COMPOSE_") and not name.endswith("_URL")}
    return sorted(theirs & environment().keys())


def _fetch_artefacts(config: Settings, compose: Compose) -> None:
    """Copy reports' files out of their volume to where they were said to be; none are there before the first report."""
    config.artefacts_dir.mkdir(parents=True, exist_ok=True)
    if any(container.service == "producer" for container in compose.containers()):
        compose.read("cp", "producer:/var/lib/switchyard/artefacts/.", str(config.artefacts_dir), timeout_s=600)
