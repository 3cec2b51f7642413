"""What all waits come to: percentiles, and whether ours are what is required beside Celery's on the same pool."""

from __future__ import annotations

from collections.abc import Iterator

from bench.numbers import median, number, p99
from bench.row import Row
from bench.section import Bar, Chart, Section
from bench.systems.system import OURS, STOCK, System

#: Most that ours may be, as a ratio to Celery's.
P50_AT_MOST, P99_AT_MOST = 1.0, 1.2


class Found:
    """Milliseconds by system: `pairs` of ours and Celery's on one pool, and the peers."""

    def __init__(self, pairs: list[list[System]], peers: list[System], messages: int, rounds: int) -> None:
        self.pairs, self.peers, self.messages, self.rounds = pairs, peers, messages, rounds
        self.waits: dict[str, list[float]] = {}

    def add(self, system: str, waits: list[float]) -> None:
        """Some more of a system."""
        self.waits.setdefault(system, []).extend(waits)

    def rows(self, ours: System, stock: System) -> Iterator[Row]:
        """Both percentiles of a pair, with what is required of ours."""
        ones, others = (self.waits.get(system.name, []) for system in (ours, stock))
        yield Row(ours.name, "p50 ms", median(ones), median(others), at_most=P50_AT_MOST)
        yield Row(ours.name, "p99 ms", p99(ones), p99(others), at_most=P99_AT_MOST)

    def section(self) -> Section:
        """As it is shown."""
        ours = [self._row(pair[0], list(self.rows(*pair))) for pair in self.pairs]
        others = [self._row(system) for system in [*(pair[1] for pair in self.pairs), *self.peers]]
        every = [pair[0] for pair in self.pairs] + [pair[1] for pair in self.pairs] + self.peers
        return Section(
            title="One task on an idle system",
            about=f"From the publisher's call to the task's first line, one task at a time, {self.messages:,} messages each. {OURS} and "
            f"{STOCK} wait on the same pool at the same time; ratios are of those two, and required of {OURS}.",
            command="make bench B=latency",
            columns=["system", "p50 ms", "p99 ms", "p50 ratio", "required", "met", "p99 ratio", "required", "met"],
            rows=[*ours, *others],
            sentences=[self._sentence(pair) for pair in self.pairs],
            charts=[
                Chart("latency-p50", "one task on an idle system: p50 in ms",
                      [Bar(s.name, median(self.waits.get(s.name, [])), s.ours) for s in every]),
                Chart("latency-p99", "one task on an idle system: p99 in ms",
                      [Bar(s.name, p99(self.waits.get(s.name, [])), s.ours) for s in every]),
            ],
        )  # fmt: skip

    def _row(self, system: System, rows: list[Row] | None = None) -> list[str]:
        waits = self.waits.get(system.name, [])
        verdicts = [cell for row in rows or () for cell in row.cells[4:]] or [""] * 6
        return [system.name, number(median(waits)), number(p99(waits)), *verdicts]

    def _sentence(self, pair: list[System]) -> str:
        p50, last = self.rows(*pair)
        return (
            f"{pair[0].name}: {number(p50.ours)} ms in the middle beside {STOCK}'s {number(p50.stock)} ms, "
            f"{number(last.ours)} ms at the 99th percentile beside {number(last.stock)} ms."
        )
