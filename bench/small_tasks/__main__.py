"""Small tasks per second, of two worker processes on two cores: ours, Celery as it comes, and its peers, in one run.

    make bench B=small_tasks [ARGS="--tasks 10000 --rounds 3 --kinds no_op --systems Switchyard,dramatiq"]

Runs a Redis and workers of its own; needs no deployment. A queue is filled, the workers are started, and their first tasks wait at a
gate until both processes are there; what counts is the time from the first tenth's end to the last task's. Two tasks: `no_op` only notes that it ran, `incr` asks Redis once. Everybody has a turn in
each round, so that a machine whose speed drifts drifts for all. Ours and Celery acknowledge late, without results and events;
dramatiq has of its middleware only Retries; taskiq's list and huey acknowledge nothing. Processor time is the workers'.
"""

from __future__ import annotations

import argparse
import sys

from bench.cores import on_two_cores
from bench.machine import Machine
from bench.names import some_of
from bench.section import Section, out, show
from bench.small_tasks.found import Found
from bench.small_tasks.run import measure
from bench.systems.catalogue import everybody
from bench.systems.system import System
from bench.workers import Bench, bench

from switchyard.errors import SwitchyardError

KINDS = ("no_op", "incr")


def found(made: Bench, systems: list[System], kinds: list[str], tasks: int, rounds: int) -> Found:
    """Every system's runs, by turns. One that does not run says so; the others do."""
    all_ = Found(systems, kinds, tasks, rounds)
    for number in range(rounds):
        for kind in kinds:
            for system in systems:
                try:
                    run = measure(made, system, kind, tasks)
                except SwitchyardError as exc:
                    print(f"error: {system.name}: {exc}", file=sys.stderr)
                    continue
                all_.add(system, kind, number, run)
                out.print(
                    f"round {number + 1} of {rounds}: {kind}: {system.name}: {run.rate:,.0f} tasks/s, "
                    f"{run.cost:,.0f} µs of processor{run.oddities}"
                )
    return all_


def short() -> Section:
    """Fewer tasks, one round."""
    with on_two_cores(), bench() as made:
        made.without_persistence()
        return found(made, everybody(), [*KINDS], tasks=2000, rounds=1).section()


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    families = sorted({system.family for system in everybody()})
    parser.add_argument(
        "--tasks",
        type=int,
        default=10_000,
        help="that a queue is filled with; of fewer than a thousand one process may take all",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", type=some_of(KINDS), default=[*KINDS], help="some of " + ",".join(KINDS))
    parser.add_argument("--systems", type=some_of(families), default=families, help="some of " + ",".join(families))
    chosen = parser.parse_args()
    machine = Machine()
    systems = [system for system in everybody() if system.family in chosen.systems]
    with on_two_cores(), bench() as made:
        made.without_persistence()
        show(found(made, systems, chosen.kinds, chosen.tasks, chosen.rounds).section())
        out.print(f"Medians of {chosen.rounds} rounds, and of their ratios; {machine.sentence(made)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
