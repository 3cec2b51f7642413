"""Numbers of a bench: what is made of many, and how one is written."""

from __future__ import annotations

import statistics
from collections.abc import Iterable


def median(values: Iterable[float]) -> float:
    """The median, 0 of nothing."""
    some = list(values)
    return statistics.median(some) if some else 0.0


def p99(values: Iterable[float]) -> float:
    """The 99th percentile, 0 of less than two."""
    some = list(values)
    return statistics.quantiles(some, n=100, method="inclusive")[98] if len(some) > 1 else 0.0


def number(value: float) -> str:
    """With as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
