"""The product workflow in chunks beside the same in plain Celery (a chord of one task per product), in one run.

    make bench B=fan_out [ARGS="--products 2000 --rounds 3"]

Needs `make up` with DEMO=1. Both ways run on the same workers, against the same supplier and store; they take turns, so
that a machine whose speed drifts drifts for both. Prints each round, the medians, and their ratio.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
import uuid
from typing import Any

from celery import Celery
from rich.console import Console
from rich.table import Table

from switchyard import workflows
from switchyard.errors import SwitchyardError
from switchyard.producer import app
from switchyard.routing import published_queue, queue_of
from switchyard.settings import settings

out = Console(highlight=False)


def chunked(products: int) -> float:
    """Seconds of one refresh as a workflow, from its start to its callback's result."""
    began = time.monotonic()
    workflow_id = workflows.start(app, "refresh_products", limit=products)
    while not (meta := workflows.read(workflow_id)).ended:
        time.sleep(0.02)
    check(meta.result)
    return time.monotonic() - began


def plain(products: int) -> float:
    """Seconds of one refresh as a chord, from its start to its callback's result."""
    began = time.monotonic()
    started = str(uuid.uuid4())
    queue = published_queue(queue_of("refresh_products_plain"))
    # Without a backend of its own the sender subscribes to nothing; both results are asked for, as the workflow's is.
    Celery(broker=settings().broker_url(), backend="disabled://").send_task(
        "refresh_products_plain", kwargs={"limit": products}, task_id=started, queue=queue
    )
    check(result_of(result_of(started)))
    return time.monotonic() - began


def result_of(task_id: str) -> Any:
    """What a task returned, as soon as it has."""
    while (meta := app.backend.get_task_meta(task_id))["status"] not in ("SUCCESS", "FAILURE"):
        time.sleep(0.02)
    return meta["result"]


def check(result: object) -> None:
    """A round that did not do the work measures nothing."""
    if not isinstance(result, dict) or result.get("status") is not True:
        raise SwitchyardError(
            f"A round ended with {result!r}; is the supplier's failure rate 0? Run `make demo` first."
        )


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    ways = {"workflow in chunks": chunked, "plain chord": plain}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for number in range(chosen.rounds):
            for name, run in ways.items():
                seconds[name].append(run(chosen.products))
                out.print(f"round {number + 1} of {chosen.rounds}: {name} {seconds[name][-1]:.2f} s")
    except SwitchyardError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    table = Table("way", "median s", "products/s", box=None, pad_edge=False)
    for name, median in medians.items():
        table.add_row(name, f"{median:.2f}", f"{chosen.products / median:,.0f}")
    out.print(table)
    ratio = medians["plain chord"] / medians["workflow in chunks"]
    out.print(
        f"plain / chunks: {ratio:.1f}   ({os.cpu_count()} cores, Python {platform.python_version()}, {chosen.products} products)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
