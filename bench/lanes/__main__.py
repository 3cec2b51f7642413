"""How long coupons' tasks wait, from enqueue to start, while promotions fills all of its slots and 1,000 of its tasks wait.

    make bench B=lanes [ARGS="--waiting 1000 --tasks 200 --rounds 3"]

Beside the same on idle workers, and beside one queue with as many slots as both have together; all in one run, on a Redis
and workers of its own. Twice: with tasks that only sleep, where nothing but a queue can make anybody wait, and with the
reports' real ones, which contend for the processors as well.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.machine import Machine
from bench.numbers import median, number, p99
from bench.section import Bar, Chart, Section, out, show
from bench.workers import Bench, bench, wait_until

from switchyard.errors import SwitchyardError
from switchyard.queues import load
from switchyard.settings import ROOT

#: Seconds between two of coupons' tasks: people who click, not a batch.
PACE = 0.05
#: Seconds a long task sleeps.
SLEEP = 0.2
SHORT_QUEUE, LONG_QUEUE, ONE_QUEUE = "coupons_aggregator_queue", "promotions_aggregator_queue", "default"


@dataclass(frozen=True)
class Kind:
    """A kind of work: coupons' tasks and promotions', each as a Celery task's name and the arguments it may have."""

    name: str
    short: str
    short_arguments: list[tuple[Any, ...]]
    long: str
    long_arguments: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Layout:
    """Where both go, the queues.toml that makes it so, and how many slots promotions' tasks find there."""

    toml: str
    short: str
    long: str
    slots: int


def kinds() -> Iterator[Kind]:
    """Work that sleeps, and the reports' own."""
    yield Kind("sleeping", "bench.short", [()], "bench.long", [(SLEEP,)])
    from demo.tasks.reports import coupons, promotions

    coupons_, promotions_ = (module.partitions(module.Parameters()) for module in (coupons, promotions))
    yield Kind("real", "reports.coupons.aggregate", [(p,) for p in coupons_],
               "reports.promotions.aggregate", [(p,) for p in promotions_])  # fmt: skip


def layouts() -> tuple[Layout, Layout]:
    """This checkout's queues, and one queue with the slots and the memory of both."""
    config = load(ROOT / "config", {}, amended=False)
    both = [config[SHORT_QUEUE], config[LONG_QUEUE]]
    slots, memory = sum(q.slots for q in both), sum(q.memory for q in both) // 1024**2
    one = f'[queues.{ONE_QUEUE}]\ntasks = ["*"]\npool = "prefork"\nconcurrency = {slots}\nmemory = "{memory}M"\n'
    lanes = (ROOT / "config" / "queues.toml").read_text()
    return (Layout(lanes, SHORT_QUEUE, LONG_QUEUE, config[LONG_QUEUE].slots),
            Layout(one, ONE_QUEUE, ONE_QUEUE, slots))  # fmt: skip


class Round:
    """Measures on one layout's running workers."""

    def __init__(self, made: Bench, kind: Kind, layout: Layout) -> None:
        from switchyard.producer import app

        self.app, self.kind, self.layout = app, kind, layout
        self.client = made.client()

    def waits(self, tasks: int) -> list[float]:
        """Seconds from enqueue to start of each of `tasks` of coupons' tasks, sent one by one."""
        from bench.lanes.tasks import STARTED

        sent: dict[str, float] = {}
        self.client.delete(STARTED)
        for arguments in itertools.islice(itertools.cycle(self.kind.short_arguments), tasks):
            task_id = str(uuid.uuid4())
            sent[task_id] = time.time()
            self._send(self.kind.short, arguments, self.layout.short, task_id)
            time.sleep(PACE)
        started: dict[str, float] = {}

        def all_started() -> bool:
            for line in self.client.lpop(STARTED, 10_000) or ():
                task_id, at = line.split()
                started[task_id] = float(at)
            return sent.keys() <= started.keys()

        wait_until(all_started, "coupons' tasks to start", patience=3600)
        return [started[task_id] - at for task_id, at in sent.items()]

    def fill(self, waiting: int) -> None:
        """Have all slots of promotions run its tasks, and at least `waiting` of them wait."""
        arguments = itertools.cycle(self.kind.long_arguments)

        def full() -> bool:
            for some in itertools.islice(arguments, max(0, waiting - self.client.llen(self.layout.long))):
                self._send(self.kind.long, some, self.layout.long)
            return self.client.hlen("unacked") >= self.layout.slots and self.client.llen(self.layout.long) >= waiting

        wait_until(full, "promotions to fill its slots and its queue")

    def _send(self, name: str, arguments: tuple[Any, ...], queue: str, task_id: str | None = None) -> None:
        from switchyard.routing import published_queue

        self.app.send_task(name, args=arguments, queue=published_queue(queue), task_id=task_id, ignore_result=True)


def measure(made: Bench, kind: Kind, chosen: argparse.Namespace) -> dict[str, list[float]]:
    """The waits of one kind of work, by condition."""
    lanes, one = layouts()
    waits: dict[str, list[float]] = {"idle": [], "promotions full": [], "one queue": []}
    for round_number in range(chosen.rounds):
        for condition in ("idle", "promotions full"):
            workers = made.workers(lanes.toml, SHORT_QUEUE, LONG_QUEUE)
            round_ = Round(made, kind, lanes)
            round_.waits(5)  # what a first task loads is not a wait
            if condition != "idle":
                # Enough that `waiting` still wait when the last of coupons' tasks is sent.
                round_.fill(chosen.waiting + 2 * chosen.tasks)
            waits[condition] += round_.waits(chosen.tasks)
            if condition != "idle" and made.client().llen(LONG_QUEUE) < chosen.waiting:
                raise SwitchyardError(
                    f"Fewer than {chosen.waiting} tasks waited at the end; measure fewer with --tasks."
                )
            refuse_failures(made)
            say(
                f"{kind.name}, round {round_number + 1} of {chosen.rounds}",
                condition,
                waits[condition][-chosen.tasks :],
            )
            made.stop(workers)
            made.client().flushall()
    workers = made.workers(one.toml, ONE_QUEUE)
    round_ = Round(made, kind, one)
    round_.waits(5)
    round_.fill(chosen.waiting)
    out.print(f"{kind.name}: coupons' tasks wait behind {chosen.waiting} others in one queue; this takes a while")
    waits["one queue"] = round_.waits(chosen.tasks)
    refuse_failures(made)
    made.stop(workers)
    made.client().flushall()
    return waits


def refuse_failures(made: Bench) -> None:
    """A task that fails holds no slot, and what is measured behind it means nothing."""
    if any('"level": "error"' in log.read_text() for log in made.folder.glob("*.log")):
        raise SwitchyardError("A task failed; run `make report R=promotions` to see why.")


def say(what: str, condition: str, waits: list[float]) -> None:
    """One line of progress."""
    out.print(f"{what}: {condition}: p50 {1000 * median(waits):.1f} ms, p99 {1000 * p99(waits):.1f} ms")


def section(found: dict[str, dict[str, list[float]]], waiting: int) -> Section:
    """As it is shown: the waits of each kind of work, by condition."""
    rows, sentences, bars = [], [], []
    for kind, waits in found.items():
        idle = waits["idle"]
        for condition, some in waits.items():
            times = (median(some) / median(idle), p99(some) / p99(idle))
            rows.append([f"{kind}, {condition}", *(number(1000 * f(some)) for f in (median, p99)), *map(number, times)])
            bars.append(Bar(f"{kind}, {condition}", 1000 * median(some), condition != "one queue"))
        lanes, one = (median(waits[condition]) for condition in ("promotions full", "one queue"))
        sentences.append(
            f"{kind} tasks: behind {waiting:,} others coupons' wait {number(1000 * lanes)} ms in a queue of their own, and {number(one)} s "
            f"in one queue with them, {number(one / lanes)} times as long."
        )
    return Section(
        title="Lanes",
        about="How long coupons' tasks wait from enqueue to start: on idle workers; while promotions fills all of its slots and its "
        "queue; and behind them in one queue with the slots of both.",
        command="make bench B=lanes",
        columns=["work, and what else there is", "p50 ms", "p99 ms", "× idle p50", "× idle p99"],
        rows=rows,
        sentences=sentences,
        charts=[Chart("lanes", "ms until coupons' tasks start: p50", bars)],
    )


def short() -> Section:
    """Of what only sleeps, and behind fewer."""
    few = argparse.Namespace(waiting=150, tasks=40, rounds=1)
    with bench() as made:
        made.environment["CELERY_APP"] = "bench.lanes.tasks:app"
        kind = next(kinds())
        return section({kind.name: measure(made, kind, few)}, few.waiting)


def main() -> int:
    """Measure both kinds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=1000, help="promotions' tasks that wait")
    parser.add_argument("--tasks", type=int, default=200, help="coupons' tasks that are measured, per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=("sleeping", "real"), help="only this kind of work")
    chosen = parser.parse_args()
    machine = Machine()
    with bench() as made:
        made.environment["CELERY_APP"] = "bench.lanes.tasks:app"
        try:
            found = {kind.name: measure(made, kind, chosen) for kind in kinds() if chosen.kind in (None, kind.name)}
        except SwitchyardError as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
        show(section(found, chosen.waiting))
        out.print(f"{chosen.tasks} tasks a round, {chosen.rounds} rounds, one of one queue; {machine.sentence(made)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
