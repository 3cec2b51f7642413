"""What grows with the work: the time per item of ever larger workflows, and a busy queue beside many idle ones.

    make bench B=growth [ARGS="--items 10000,100000,1000000 --idle 50 --rounds 3"]

Runs a Redis and workers of its own; needs no deployment. A workflow's items do nothing;
memory is what Redis has when all items wait and no worker has run one. Required: an item of the largest workflow takes at
most a fifth more time than one of the smallest; a queue beside idle ones is at most 5 % slower, by turns. A million items take minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from bench.cores import on_two_cores
from bench.growth.queues import compare
from bench.growth.workflow import Grown, grow
from bench.machine import Machine
from bench.names import numbers
from bench.no_op.workers import prepare
from bench.row import Row
from bench.section import Bar, Chart, Section, out, show
from bench.workers import Bench, bench

from switchyard.errors import SwitchyardError

#: Most that an item of a larger workflow may take, as a ratio to one of the smallest.
PER_ITEM_AT_MOST = 1.2


def measure(made: Bench, sizes: list[int], idle: int, rounds: int, seconds: float) -> Section:
    """The workflows, smallest first, and then the queues."""
    grown: list[Grown] = []
    for items in sorted(sizes):
        grown.append(grow(made, items))
        out.print(
            f"{items:,} items: {grown[-1].per_item:,.0f} µs each, {grown[-1].waiting:,.0f} bytes each while they wait"
        )
    prepare(made, "leased")
    return section(grown, list(compare(made, idle, rounds, seconds)) if idle else [])


def rows(grown: list[Grown]) -> Iterator[Row]:
    """Each size beside the smallest."""
    least = grown[0] if grown else None
    for one in grown:
        larger = one is not least
        name = f"{one.items:,} items"
        yield Row(
            f"{name}: time of each", "µs", one.per_item, least.per_item, at_most=PER_ITEM_AT_MOST if larger else None
        )
        yield Row(f"{name}: Redis' memory of each that waits", "bytes", one.waiting, least.waiting)
        yield Row(
            f"{name}: peak of their starter, beside its own before", "MB", one.peak / 1024**2, one.before / 1024**2
        )


def section(grown: list[Grown], queues: list[Row]) -> Section:
    """As it is shown."""
    return Section(
        title="Growth",
        about="Workflows of items that do nothing, each beside the smallest; and a queue that is busy, beside idle ones in "
        "`queues.toml` and alone.",
        command="make bench B=growth",
        columns=["what", "unit", "measured", "beside", "ratio", "required", "met"],
        rows=[row.cells for row in [*rows(grown), *queues]],
        sentences=[*_sentences(grown, queues)],
        charts=[
            Chart(
                "growth",
                "µs per item of a workflow",
                [Bar(f"{one.items:,} items", one.per_item, True) for one in grown],
            )
        ],
    )


def _sentences(grown: list[Grown], queues: list[Row]) -> Iterator[str]:
    if len(grown) > 1:
        least, most = grown[0], grown[-1]
        yield (
            f"{most.items / least.items:,.0f} times the items take {most.seconds / least.seconds:,.0f} times the time; while they wait, "
            f"{most.items:,} need {most.items * most.waiting / 1024**2:,.0f} MB of Redis, and their starter "
            f"{(most.peak - most.before) / 1024**2:,.0f} MB more than one of a single item."
        )
    for row in queues:
        if row.required:
            yield f"{row.what}: {100 * row.ratio:.0f} % ({row.unit})."


def short() -> Section:
    """Without the largest workflow."""
    with on_two_cores(), bench() as made:
        made.without_persistence()
        return measure(made, [10_000, 100_000], idle=50, rounds=1, seconds=5)


def main() -> int:
    """Measure, and print the table; what is not met is a number, and no error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=numbers, default=[10_000, 100_000, 1_000_000], help="of a workflow each")
    parser.add_argument("--idle", type=int, default=50, help="queues beside the busy one; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=3, help="of the busy queue")
    parser.add_argument("--seconds", type=float, default=5, help="that each side of it has in a round, by turns")
    chosen = parser.parse_args()
    machine = Machine()
    with on_two_cores(), bench() as made:
        made.without_persistence()
        try:
            show(measure(made, chosen.items, chosen.idle, chosen.rounds, chosen.seconds))
        except SwitchyardError as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 1
        out.print(f"Medians of {chosen.rounds} rounds, and of their ratios; {machine.sentence(made)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
