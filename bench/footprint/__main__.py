"""What a process needs that has nothing to do: memory, seconds from its start until it is ready, and processor for that.

    make bench B=footprint [ARGS="--rounds 3"]

Runs a Redis of its own; needs no deployment. One program at a time, everybody in each round. A worker is ready when its first task
has run, which waits for it; another program when it says so, or its port answers. Memory is what all of a program's processes
have a few seconds later, what they share with others in part (PSS): our workers run an app without a task of the demo.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import processes
from bench.footprint.programs import Program, programs
from bench.machine import Machine
from bench.numbers import median, number
from bench.section import Bar, Chart, Section, out, show
from bench.systems.catalogue import POOLS, ours, stock
from bench.systems.system import STOCK
from bench.workers import Bench, bench, wait_until

from switchyard.errors import SwitchyardError

#: Seconds after which a program that is ready has loaded what it loads late.
_SETTLED = 3.0


@dataclass
class Found:
    """Of one program: MB when it is idle, seconds until it was ready, and seconds of processor until then, by round."""

    memory: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def measure(made: Bench, rounds: int, settled: float = _SETTLED) -> dict[Program, Found]:
    """Everybody, by turns. One that does not start says so; the others do."""
    found: dict[Program, Found] = {}
    for round_ in range(rounds):
        for program in programs():
            try:
                _start(made, program, found.setdefault(program, Found()), settled)
            except SwitchyardError as exc:
                print(f"error: {program.name}: {exc}", file=sys.stderr)
                continue
            one = found[program]
            out.print(
                f"round {round_ + 1} of {rounds}: {program.name}: {one.memory[-1]:.0f} MB, ready after {one.ready[-1]:.2f} s"
            )
    return found


def _start(made: Bench, program: Program, found: Found, settled: float) -> None:
    with program.start(made) as started:
        wait_until(started.ready, f"{program.name} to be ready")
        found.ready.append(time.monotonic() - started.since)
        found.cpu.append(sum(map(processes.cpu, started.groups)))
        time.sleep(settled)
        found.memory.append(sum(map(processes.memory, started.groups)) / 1024**2)


def section(found: dict[Program, Found]) -> Section:
    """As it is shown."""
    there = {program: one for program, one in found.items() if one.memory}
    memory = {program.name: median(one.memory) for program, one in there.items()}
    return Section(
        title="Footprint",
        about="One program at a time, with nothing to do: the proportional memory (PSS) of all of its processes, and what a start takes "
        "until it is ready: for a worker until its first task has run.",
        command="make bench B=footprint",
        columns=["program", "PSS MB", "start to ready s", "CPU s of a start"],
        rows=[
            [program.name, number(memory[program.name]), f"{median(one.ready):.2f}", f"{median(one.cpu):.2f}"]
            for program, one in there.items()
        ],
        sentences=[*_sentences(there)],
        charts=[
            Chart("footprint", "MB of an idle program (PSS)", [Bar(p.name, memory[p.name], p.ours) for p in there])
        ],
    )


def _sentences(found: dict[Program, Found]) -> Iterator[str]:
    """Each of our workers beside Celery's on the same pool; and a deployment's other programs together."""
    by_name = {program.name: one for program, one in found.items()}
    for pool in POOLS:
        pair = [by_name.get(f"worker: {system.name}") for system in (ours(pool, 1), stock(pool, 1))]
        if all(pair):
            memory, ready = ([median(getattr(one, what)) for one in pair] for what in ("memory", "ready"))
            yield (
                f"{pool}: our worker has {number(memory[0])} MB where {STOCK}'s has {number(memory[1])}, and has run its first task "
                f"after {ready[0]:.2f} s where {STOCK}'s has after {ready[1]:.2f}."
            )
    rest = [one for program, one in found.items() if not program.name.startswith("worker: ")]
    yield f"What a deployment has besides its workers and Redis: {number(sum(median(one.memory) for one in rest))} MB."


def short() -> Section:
    """Once."""
    with bench() as made:
        made.without_persistence()
        return section(measure(made, rounds=1, settled=1.0))


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    machine = Machine()
    with bench() as made:
        made.without_persistence()
        show(section(measure(made, chosen.rounds)))
        out.print(f"Medians of {chosen.rounds} rounds; {machine.sentence(made)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
