"""A deployment in Docker as the engine shows it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.checkout import Checkout


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`docker …`, whatever comes of it; both its outputs are in `stdout`."""
    return subprocess.run(
        ["docker", *arguments], text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120
    )


def inspected(up: Checkout) -> dict[str, dict[str, Any]]:
    """What `docker inspect` shows of each service's container."""
    ids = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={up.project}").stdout.split()
    entries = json.loads(docker("inspect", *ids).stdout)
    return {entry["Config"]["Labels"]["com.docker.compose.service"]: entry for entry in entries}


def health(up: Checkout) -> dict[str, str]:
    """The health of each container that has a probe."""
    return {name: e["State"]["Health"]["Status"] for name, e in inspected(up).items() if "Health" in e["State"]}


def begun(up: Checkout) -> dict[str, tuple[str, int]]:
    """When each container was started, and how often it was started again; the seeder runs once for each `up`."""
    return {name: (e["State"]["StartedAt"], e["RestartCount"]) for name, e in inspected(up).items() if name != "seed"}
