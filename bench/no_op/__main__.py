"""What our transport saves: tasks that do nothing, on it and on kombu's own, in one run.

    make bench B=no_op [ARGS="--rounds 3 --pools solo,gevent --parts rates,idle,wake,herd"]

Runs a Redis and workers of its own; needs no deployment. Both sides have the same settings (acknowledged late, no results, no
events, no gossip, mingle or heartbeats) and take turns, so that a machine whose speed drifts drifts for both. Four parts: tasks per
second of a queue that is full; commands per second of a worker that is idle; how long a message waits on an idle system; and how many
commands one message costs that wakes a herd. Processor time is the worker's: it says what a busy machine's rates blur.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from bench.machine import Machine
from bench.names import some_of
from bench.no_op import commands, rates, wake
from bench.no_op.workers import POOLS, SIDES, Worker, prepare
from bench.row import Row
from bench.section import Section, out, show
from bench.workers import Bench, bench

from switchyard.errors import SwitchyardError

#: Pools whose waits are measured: threads take messages as solo does.
_WAKING = ("solo", "prefork", "gevent")


def parts(made: Bench, chosen: argparse.Namespace) -> dict[str, Callable[[], Iterator[Row]]]:
    """What can be measured, by name."""
    waking = [pool for pool in chosen.pools if pool in _WAKING]
    return {
        "rates": lambda: rates.measure(made, chosen.pools, chosen.rounds, chosen.seconds),
        "idle": lambda: commands.idle(made, chosen.pools),
        "wake": lambda: wake.measure(made, waking, chosen.rounds, chosen.messages),
        "herd": lambda: commands.herd(made, chosen.workers),
    }


def measure(made: Bench, chosen: argparse.Namespace) -> list[Row]:
    """The rows of every part that was chosen. One that cannot be measured says so; the others are."""
    rows: list[Row] = []
    for name, part in parts(made, chosen).items():
        if name not in chosen.parts:
            continue
        try:
            rows += part()
        except SwitchyardError as exc:
            print(f"error: {name}: {exc}", file=sys.stderr)
            made.stop(made.processes[1:])  # all but the server
            made.client().flushall()
    return rows


def say_transports(made: Bench) -> None:
    """Which classes are compared, as workers say themselves."""
    for side in SIDES:
        worker = Worker(made, side, POOLS["solo"])
        out.print(f"{side.name}: {worker.transport}")
        worker.stop()


def section(rows: list[Row], rounds: int) -> Section:
    """As it is shown."""
    required = [row for row in rows if row.met is not None]
    return Section(
        title="The transport, beside kombu's own",
        about=f"Tasks that do nothing, on our transport and on kombu's, with the same settings and otherwise the same Celery; medians of "
        f"rounds ({rounds}) and of their ratios.",
        command="make bench B=no_op",
        columns=["what", "unit", "ours", "kombu's", "ratio", "required", "met"],
        rows=[row.cells for row in rows],
        sentences=[
            *(f"{row.what}: {row.ratio:.1f} times the tasks." for row in rows if row.unit == "tasks/s"),
            f"Of {len(required)} figures that are required, {sum(bool(row.met) for row in required)} are met.",
        ],
    )


def short() -> Section:
    """Rates alone, of two pools."""
    with bench() as made:
        prepare(made, "leased")
        return section([*rates.measure(made, ["solo", "gevent"], rounds=1, seconds=2)], rounds=1)


def main() -> int:
    """Measure and print the table; what is not met is a number, and no error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pools", type=some_of(POOLS), default=list(POOLS), help="some of " + ",".join(POOLS))
    all_parts = ("rates", "idle", "wake", "herd")
    parser.add_argument("--parts", type=some_of(all_parts), default=all_parts, help="some of " + ",".join(all_parts))
    parser.add_argument("--seconds", type=float, default=3, help="that a side has for a rate, by turns")
    parser.add_argument("--messages", type=int, default=300, help="that wake an idle worker, in all rounds together")
    parser.add_argument("--workers", type=int, default=20, help="of the herd")
    parser.add_argument("--transport", choices=("leased", "stock"), default="leased", help="which of ours")
    chosen = parser.parse_args()
    machine = Machine()
    with bench() as made:
        prepare(made, chosen.transport)
        try:
            say_transports(made)
        except SwitchyardError as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
        rows = measure(made, chosen)
        on = machine.sentence(made)
    show(section(rows, chosen.rounds))
    out.print(f"Medians of {chosen.rounds} rounds and of their ratios; {on}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
