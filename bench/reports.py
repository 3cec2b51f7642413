"""Each report on its two workers beside the same functions in a bare loop: seconds, their ratio, and the workers' peak memory.

    make bench B=reports [ARGS="--rounds 3 --report sales"]

On a Redis and workers of its own, with this checkout's queues.toml. Memory is the proportional resident size (Pss) of a
worker and all of its children together, which is what a container's limit counts, looked at every 50 ms.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from bench.workers import Bench, bench, wait_until
from rich.console import Console
from rich.table import Table

from switchyard.errors import SwitchyardError
from switchyard.queues import Queues, load
from switchyard.report import Report
from switchyard.settings import ROOT
from switchyard.worker.memory import proportional

out = Console(highlight=False)


class Peak:
    """The most memory that a worker and its children have used together."""

    def __init__(self, pid: int) -> None:
        self.pid, self.bytes, self.ended = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.ended.wait(0.05):
            self.bytes = max(self.bytes, sum(map(proportional, [self.pid, *children(self.pid)])))

    def end(self) -> int:
        """Stop looking; returns bytes."""
        self.ended.set()
        self.thread.join()
        return self.bytes


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1] == str(pid):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def by_workers(report: Report) -> float:
    """Seconds of one report as anybody would make it."""
    from switchyard import workflows
    from switchyard.producer import app

    began = time.monotonic()
    workflow_id = workflows.start(app, report.start_task)
    wait_until(lambda: workflows.read(workflow_id).ended, report.name, patience=1800)
    meta = workflows.read(workflow_id)
    if meta.state != "done":
        raise SwitchyardError(f"{report.name} was not made: {meta.reason}")
    return time.monotonic() - began


def in_a_loop(report: Report) -> float:
    """Seconds of its functions alone, one partition after another, in a process of their own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_loop, (report.module,))


def _loop(module: str) -> float:
    code = importlib.import_module(module)
    began = time.monotonic()
    parameters = code.Parameters()
    code.report([code.aggregate(partition) for partition in code.partitions(parameters)], parameters)
    return time.monotonic() - began


@contextmanager
def running(made: Bench, report: Report) -> Iterator[tuple[Peak, Peak]]:
    """Both workers of a report, watched."""
    workers = made.workers((ROOT / "config" / "queues.toml").read_text(), *report.queues)
    yield Peak(workers[0].pid), Peak(workers[1].pid)
    made.stop(workers)


def row(made: Bench, report: Report, config: Queues, rounds: int) -> tuple[str, ...]:
    """Measure one report."""
    seconds: dict[str, list[float]] = {"workers": [], "loop": []}
    with running(made, report) as (aggregator, artefact):
        for number in range(rounds):
            seconds["workers"].append(by_workers(report))
            seconds["loop"].append(in_a_loop(report))
            out.print(f"{report.name}, round {number + 1} of {rounds}: workers {seconds['workers'][-1]:.1f} s, loop {seconds['loop'][-1]:.1f} s")  # fmt: skip
        peaks = aggregator.end(), artefact.end()
    allowed = [config[queue].memory for queue in report.queues]
    if any(peak > limit for peak, limit in zip(peaks, allowed, strict=True)) or made.said("memory_exceeded"):
        raise SwitchyardError(
            f"{report.name} needs more memory than its queues have; give it more in config/queues.toml."
        )
    workers, loop = (statistics.median(seconds[way]) for way in ("workers", "loop"))
    return (report.name, f"{workers:.1f}", f"{loop:.1f}", f"{loop / workers:.2f}",
            *(f"{peak // 1024**2} of {limit // 1024**2}" for peak, limit in zip(peaks, allowed, strict=True)))  # fmt: skip


def main() -> int:
    """Measure the reports and print the table; 1 if one needs more memory than its queue has."""
    config = load(ROOT / "config", {}, amended=False)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", choices=list(config.reports), help="only this one")
    chosen = parser.parse_args()
    table = Table(
        "report", "workers s", "loop s", "loop / workers", "aggregator MB", "report MB", box=None, pad_edge=False
    )
    with bench() as made:
        try:
            for report in config.reports.values():
                if chosen.report in (None, report.name):
                    table.add_row(*row(made, report, config, chosen.rounds))
        except SwitchyardError as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
    out.print(table)
    out.print(f"medians of {chosen.rounds}; {os.cpu_count()} cores, Python {platform.python_version()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
