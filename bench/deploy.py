"""How long a deployment takes from `make up` to healthy, to its first report, through a change of code, and down: in Docker, beside local processes.

    make bench B=deploy [ARGS="--rounds 3"]

Needs a Docker engine. Checkouts of its own, one for each runtime in each round; images are built once before anything is timed,
as packages are installed. Medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.checkout import Checkout

#: What is timed, in the order in which it is done.
STEPS = (
    "make up, to healthy",
    "… and the first report",
    "make up again",
    "a change of a task, to healthy",
    "make down",
)
RUNTIMES = ("docker", "local")
CHANGED = Path("services/demo/tasks/products.py")

out = Console(highlight=False)


def round_of(runtime: str, folder: Path) -> dict[str, float]:
    """Each step once, in seconds."""
    checkout = Checkout(folder / "switchyard", runtime)
    took: dict[str, float] = {}

    def timed(step: str, *arguments: str) -> None:
        began = time.monotonic()
        checkout.ok(*arguments)
        took[step] = time.monotonic() - began

    try:
        if runtime == "docker":
            checkout.compose("build")
        timed(STEPS[0], "up")
        timed(STEPS[1], "report", "R=coupons")
        took[STEPS[1]] += took[STEPS[0]]
        timed(STEPS[2], "up")
        file = checkout.folder / CHANGED
        file.write_text(file.read_text() + "\n# A change.\n")
        if runtime == "docker":
            timed(STEPS[3], "up")
        else:  # its code is where it is; who runs it must be told
            timed(STEPS[3], "restart", "Q=default")
        timed(STEPS[4], "down")
    finally:
        checkout.end()
    return took


def main() -> int:
    """Run the rounds, the two runtimes in turns, and print the medians."""
    parser = argparse.ArgumentParser(description="A deployment's seconds, in either runtime.")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for runtime in RUNTIMES:
            out.print(f"round {number} of {rounds}, {runtime}")
            with tempfile.TemporaryDirectory() as folder:
                for step, seconds in round_of(runtime, Path(folder)).items():
                    found[step, runtime].append(seconds)
    table = Table("seconds, median", *RUNTIMES, "docker / local", box=None, pad_edge=False)
    for step in STEPS:
        docker, local = (statistics.median(found[step, runtime]) for runtime in RUNTIMES)
        table.add_row(step, f"{docker:.1f}", f"{local:.1f}", f"{docker / local:.1f}")
    out.print(table)
    out.print(
        f"{rounds} rounds, Python {platform.python_version()}, {platform.machine()}. Local: the change restarts one worker."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
