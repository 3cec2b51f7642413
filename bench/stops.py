"""Whether stops lose work: a deployment in Docker is stopped and brought up again and again, with tasks of two pools in mid-run.

    make bench B=stops [ARGS="--rounds 20"]

Needs a Docker engine; makes a checkout, a deployment and a supplier of its own, and removes them. Each round sends single
tasks to a gevent queue and reports to prefork ones, says `docker compose stop` while they run, and then `docker compose up
--wait`. The ledger is kept here: which events were accepted, and how each of their workflows has ended; the workers' logs
say which tasks have run twice. There is no baseline: it counts, and the right number is 0.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from tests.checkout import Answer, Checkout

from switchyard.errors import SwitchyardError

#: Events of a round: single tasks on gevent, each as long as an answer of the supplier; reports on prefork.
PRODUCTS, REPORTS = 60, 3
LATENCY_MS = 1500
#: Seconds after which what has not ended is lost, or will be done too late to be of use.
PATIENCE_S = 300
#: Seconds for which an event is told again that the door cannot take.
TELL_S = 60

out = Console(highlight=False)


@dataclass
class Ledger:
    """What was accepted, by workflow; and how long stops and starts took, in seconds."""

    accepted: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    stops: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Workflows that have not ended well: the supplier fails none."""
        return sum(self.ended.get(workflow) != "done" for workflow in self.accepted)


def run(checkout: Checkout, rounds: int) -> Ledger:
    """Stop and start a deployment that is up, under load, and wait for all that was accepted."""
    ledger = Ledger()
    checkout.ask_supplier("PUT", "/knobs", {"latency_ms": LATENCY_MS})
    for number in range(1, rounds + 1):
        _send(checkout, ledger)
        time.sleep(1)  # in mid-task, and with more of them waiting
        ledger.stops.append(_timed(checkout, "stop"))
        ledger.starts.append(_timed(checkout, "up", "--detach", "--wait"))
        out.print(
            f"round {number} of {rounds}: stopped in {ledger.stops[-1]:.1f} s, ready after {ledger.starts[-1]:.1f} s"
        )
    checkout.ask_supplier("PUT", "/knobs", {"latency_ms": 5})
    end = time.monotonic() + PATIENCE_S
    while (open_ := ledger.accepted.keys() - ledger.ended.keys()) and time.monotonic() < end:
        for workflow in open_:
            state = checkout.ask("GET", f"/v1/workflows/{workflow}").body.get("state")  # none while Redis is slow
            if state in ("done", "failed"):
                ledger.ended[workflow] = state
        time.sleep(0.5)
    return ledger


def repeated(checkout: Checkout) -> dict[str, list[str]]:
    """What the workers' logs say of each task that has succeeded more than once."""
    workers = [service for service in checkout.states() if service.startswith("worker-")]
    lines = "".join(map(checkout.log, workers)).splitlines()
    times = Counter(
        found[1] for line in lines if (found := re.search(r"Task [\w.]+\[([0-9a-f-]{36})\] succeeded", line))
    )
    return {task: [line for line in lines if task in line] for task, number in times.items() if number > 1}


def _send(checkout: Checkout, ledger: Ledger) -> None:
    products = [event("product.updated", {"product_id": 1000050 + number}) for number in range(PRODUCTS)]
    reports = [event("report.requested", {"report": "coupons"}) for _ in range(REPORTS)]
    for told in [*products, *reports]:
        answer = _told(checkout, told)
        ledger.accepted[answer.body["workflow"]] = str(told["type"])


def _told(checkout: Checkout, told: dict[str, object]) -> Answer:
    """Tell it, again while the door says that Redis is slow: it starts one workflow however often."""
    end = time.monotonic() + TELL_S
    while (answer := checkout.ask("POST", "/v1/events", told)).status != 202:
        if answer.status != 503 or time.monotonic() > end:
            raise SwitchyardError(f"The HTTP door answered {answer.status}: {answer.body}")
        time.sleep(0.5)
    return answer


def event(kind: str, data: dict[str, object]) -> dict[str, object]:
    """One that nobody has sent yet."""
    return {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/bench", "type": kind, "data": data}


def _timed(checkout: Checkout, *arguments: str) -> float:
    began = time.monotonic()
    checkout.compose(*arguments)
    return time.monotonic() - began


def main() -> int:
    """Run the rounds and print the ledger; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description="Stops and starts under load; what was lost, and what ran twice.")
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder) / "switchyard", "docker")
        try:
            out.print("bringing up a deployment of its own")
            checkout.ok("up")
            ledger = run(checkout, rounds)
            twice = repeated(checkout)
        finally:
            checkout.end()
    kinds = Counter(ledger.accepted.values())
    out.print(
        f"accepted {len(ledger.accepted):,}: " + ", ".join(f"{number:,} {kind}" for kind, number in kinds.items())
    )
    out.print(f"lost {ledger.lost}, tasks that ran twice {len(twice)}")
    for name, times in (("docker compose stop", ledger.stops), ("up --wait", ledger.starts)):
        out.print(f"{name}: median {statistics.median(times):.1f} s, longest {max(times):.1f} s")
    return 1 if ledger.lost else 0


if __name__ == "__main__":
    sys.exit(main())
