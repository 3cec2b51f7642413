"""What it costs to ask a container whether it is well: each service's own probe, beside `celery inspect ping`, in processor time.

    make bench B=probes [ARGS="--times 100"]

Needs a Docker engine; makes a checkout and a deployment of its own, and removes them. Each probe runs so often in its own
container, in one shell after another, and the processor time is what the kernel counts for them; `docker exec` itself, which any
probe pays, is outside of it. What they leave in Redis is counted as well.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.checkout import Checkout

#: Seconds of processor time that a probe may cost.
COST_S = 0.020
#: How most deployments ask a Celery worker.
PING = (
    "celery --quiet --app switchyard.producer:app inspect ping --timeout 2 --destination default@$NODE_HOST >/dev/null"
)
PINGS = 5

out = Console(highlight=False)


def probes(checkout: Checkout) -> dict[str, str]:
    """Each service's probe as a line of shell."""
    label = f"label=com.docker.compose.project={checkout.project}"
    ids = _docker("ps", "--quiet", "--filter", label).split()
    found = {}
    for entry in json.loads(_docker("inspect", *ids)):
        config = entry["Config"]
        kind, *command = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
        if kind != "NONE":
            # As the engine runs it.
            line = command if kind == "CMD" else ["/bin/sh", "-c", *command]
            found[config["Labels"]["com.docker.compose.service"]] = shlex.join(line)
    return dict(sorted(found.items()))


def seconds_of(checkout: Checkout, service: str, line: str, times: int) -> float:
    """Processor time of one such line in the service's container, in seconds; each must succeed."""
    script = f"for i in $(seq {times}); do {line} || exit 1; done; times"
    # The last line of `times` is that of what the shell has started: user and system.
    spent = _inside(checkout, service, script).splitlines()[-1].split()
    return sum(60 * float(m) + float(s.rstrip("s")) for m, s in (part.split("m") for part in spent)) / times


def keys(checkout: Checkout) -> int:
    """The keys in Redis, results and workflows among them."""
    script = "export REDISCLI_AUTH=$(cat /run/switchyard/admin_password); for n in 0 1; do redis-cli --user admin -n $n DBSIZE; done"
    return sum(map(int, _inside(checkout, "redis", script).split()))


def _inside(checkout: Checkout, service: str, script: str) -> str:
    # The demo's supplier is in a profile; without it, Compose knows no service of that name.
    return checkout.compose("--profile", "*", "exec", "-T", service, "bash", "-c", script)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Ask everybody, and print what it cost; 1 if a probe costs more than it may."""
    parser = argparse.ArgumentParser(description="A probe's processor time, beside `celery inspect ping`.")
    parser.add_argument("--times", type=int, default=100)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder) / "switchyard", "docker")
        try:
            out.print("bringing up a deployment of its own")
            checkout.ok("up")
            before = keys(checkout)
            cost = {s: seconds_of(checkout, s, line, times) for s, line in probes(checkout).items()}
            between = keys(checkout)
            ping = seconds_of(checkout, "worker-default", PING, PINGS)
            after = keys(checkout)
        finally:
            checkout.end()
    table = Table("probe of", "ms of processor time", box=None, pad_edge=False)
    for service, seconds in cost.items():
        table.add_row(service, f"{1000 * seconds:.1f}")
    table.add_row("worker-default, by celery inspect ping", f"{1000 * ping:.0f}")
    out.print(table)
    out.print(
        f"keys left in Redis: {between - before} by {times * len(cost):,} probes, {after - between} by {PINGS} pings"
    )
    out.print(f"Python {platform.python_version()}, {platform.machine()}.")
    return 1 if max(cost.values()) > COST_S else 0


if __name__ == "__main__":
    sys.exit(main())
