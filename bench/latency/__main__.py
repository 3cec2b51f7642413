"""How long one task waits on an idle system, from its publisher's call to its first line: ours, Celery as it comes, and its peers.

    make bench B=latency [ARGS="--messages 300 --rounds 3 --pools solo,gevent"]

Runs a Redis and workers of its own; needs no deployment. A worker of ours and one of Celery's on the same pool wait at the same
time, each in a database of its own, and messages go to one or the other by chance: a noisy moment is both's. The peers, for
context, wait by twos after them. Required is that ours is no slower in the middle, and at most a fifth slower at the 99th percentile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial

from bench.latency.found import Found
from bench.machine import Machine
from bench.names import some_of
from bench.numbers import median, p99
from bench.section import Section, out, show
from bench.systems.catalogue import POOLS, ours, peers, stock
from bench.systems.running import Running, running
from bench.systems.system import System
from bench.waits import Waiting, waits_of
from bench.workers import Bench, bench

from switchyard.errors import SwitchyardError


def found(made: Bench, pools: list[str], messages: int, rounds: int, *, others: bool = True) -> Found:
    """The waits of everybody, by turns. A group that does not run says so; the others do."""
    pairs = [[ours(pool, 1), stock(pool, 1)] for pool in pools]
    rest = [*peers(1)] if others else []
    all_ = Found(pairs, rest, messages, rounds)
    for number in range(rounds):
        # By twos as well: who polls waits longer the longer it has been idle.
        for group in [*pairs, *(rest[first : first + 2] for first in range(0, len(rest), 2))]:
            try:
                waits = _waits(made, group, max(1, messages // rounds))
            except SwitchyardError as exc:
                print(f"error: {exc}", file=sys.stderr)
                continue
            for system, some in waits.items():
                all_.add(system, some)
                out.print(
                    f"round {number + 1} of {rounds}: {system}: p50 {median(some):.2f} ms, p99 {p99(some):.2f} ms"
                )
    return all_


def _waits(made: Bench, group: Iterable[System], messages: int) -> dict[str, list[float]]:
    with ExitStack() as stack:
        all_ = {system.name: stack.enter_context(running(made, system)) for system in group}
        for some in all_.values():
            some.send()
            some.start()
        for some in all_.values():
            some.wait_for_processes(1)
        return waits_of({name: Waiting(partial(_send, some), some.begun) for name, some in all_.items()}, messages)


def _send(some: Running) -> float:
    began, _ = some.send()
    return began


def short() -> Section:
    """Fewer messages."""
    with bench() as made:
        made.without_persistence()
        return found(made, [*POOLS], messages=40, rounds=1).section()


def main() -> int:
    """Measure, and print the table; what is not met is a number, and no error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300, help="to each, in all rounds together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pools", type=some_of(POOLS), default=[*POOLS], help="some of " + ",".join(POOLS))
    chosen = parser.parse_args()
    machine = Machine()
    with bench() as made:
        made.without_persistence()
        show(found(made, chosen.pools, chosen.messages, chosen.rounds).section())
        out.print(f"Messages of {chosen.rounds} rounds together; {machine.sentence(made)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
