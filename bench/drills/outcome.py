"""What a drill counted for one pool on one transport, and which promises it saw broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.drills.ledger import percentile
from rich.table import Table

COLUMNS = ("drill", "pool", "transport", "blows", "accepted", "ran", "begun again", "at most", "ended twice", "lost",
           "set aside", "back: median s", "p99 s", "worst s", "holds")  # fmt: skip


@dataclass
class Outcome:
    """Counts of tasks; `blows` is how often something was killed, stopped or cut off; `recoveries` in seconds."""

    drill: str
    pool: str
    transport: str
    blows: int
    accepted: int
    ran: int
    again: int
    twice: int
    lost: int
    set_aside: int
    recoveries: list[float] = field(default_factory=list)
    #: The most tasks that may have been begun again; None where no number is promised.
    bound: int | None = None
    #: A sentence for each promise that was not kept; those about time are apart, since a machine may be too busy for them.
    broken: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def must(self, holds: object, promise: str) -> None:
        """Note a promise, unless it was kept."""
        if not holds:
            self.broken.append(promise)

    def lose_nothing(self) -> None:
        """What every drill promises: all that was accepted has run, and nothing more often than it may."""
        self.must(self.lost == 0, f"{self.lost} accepted tasks never ran to their end; none may be lost")
        if self.bound is not None:
            self.must(self.again <= self.bound, f"{self.again} tasks were begun again; at most {self.bound} may be")

    def recover_within(self, seconds: float, share: float = 0.99) -> None:
        """Promise that this share of the recoveries take no longer."""
        if self.recoveries and (found := percentile(self.recoveries, share)) > seconds:
            self.late.append(f"p{share * 100:g} of the recoveries is {found:.1f} s; at most {seconds:g} s are promised")

    def cells(self) -> list[str]:
        """A row of the table, in the order of COLUMNS."""
        counts = (self.blows, self.accepted, self.ran, self.again)
        seconds = [percentile(self.recoveries, share) for share in (0.5, 0.99, 1)] if self.recoveries else []
        return [
            self.drill, self.pool, self.transport, *(f"{count:,}" for count in counts),
            "–" if self.bound is None else f"{self.bound:,}", f"{self.twice:,}", f"{self.lost:,}", f"{self.set_aside:,}",
            *([f"{value:.1f}" for value in seconds] or ["–"] * 3), "no" if self.broken or self.late else "yes",
        ]  # fmt: skip


def table(outcomes: Iterable[Outcome]) -> Table:
    """All of them, a row each."""
    made = Table(*COLUMNS, box=None, pad_edge=False)
    for column in made.columns[3:-1]:
        column.justify = "right"
    for outcome in outcomes:
        made.add_row(*outcome.cells())
    return made


def complaints(outcomes: Iterable[Outcome]) -> list[str]:
    """A sentence for each promise that was not kept, and by whom."""
    return [f"{o.drill}, {o.pool}, {o.transport}: {promise}." for o in outcomes for promise in (*o.broken, *o.late)]
