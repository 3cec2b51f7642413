"""A line of the table: what was measured of ours and of kombu's, and whether it is what was required."""

from __future__ import annotations

from dataclasses import dataclass

from bench.numbers import number


@dataclass(frozen=True)
class Row:
    """A measure of both sides. What is required is of the ratio ours/kombu's, or (`own_at_most`) of ours alone."""

    what: str
    unit: str
    ours: float
    stock: float
    at_least: float | None = None
    at_most: float | None = None
    own_at_most: float | None = None
    #: The median of the rounds' ratios, where a round has measured both sides in the same seconds.
    paired: float | None = None

    @property
    def ratio(self) -> float:
        """Ours by kombu's; 0 when kombu's is."""
        if self.paired is not None:
            return self.paired
        return self.ours / self.stock if self.stock else 0.0

    @property
    def required(self) -> str:
        """In words; empty when nothing is."""
        if self.at_least is not None:
            return f"ratio >= {self.at_least:g}"
        if self.at_most is not None:
            return f"ratio <= {self.at_most:g}"
        return "" if self.own_at_most is None else f"ours <= {self.own_at_most:g}"

    @property
    def met(self) -> bool | None:
        """Whether it is what was required; None when nothing was."""
        if self.at_least is not None:
            return self.ratio >= self.at_least
        if self.at_most is not None:
            return 0 < self.ratio <= self.at_most
        return None if self.own_at_most is None else self.ours <= self.own_at_most

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        verdict = {None: "", True: "yes", False: "NO"}[self.met]
        return (
            self.what,
            self.unit,
            number(self.ours),
            number(self.stock),
            f"{self.ratio:.2f}",
            self.required,
            verdict,
        )
