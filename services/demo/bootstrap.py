"""Counts by cluster come in, ratios of their sums go out with intervals: how much they would vary with other clusters.

A cluster, here a store, is drawn as a whole: what one store sells in two weeks is alike, and a bootstrap of single rows
would take that for certainty.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from random import Random
from statistics import quantiles

RESAMPLES = 1000
#: The same input gives the same intervals.
SEED = 20170101
#: Fewer clusters cannot show how clusters vary; their interval would be too narrow.
FEWEST_CLUSTERS = 10
#: 40 parts: the outer cuts are the 2.5th and the 97.5th percentile.
_PARTS = 40


@dataclass(frozen=True)
class Estimate:
    """A number from the data, and its 95 % interval; None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """The draws for a number of clusters: every ratio is computed from the same ones, so ratios can be compared."""

    def __init__(self, clusters: int) -> None:
        self._enough = clusters >= FEWEST_CLUSTERS
        random = Random(SEED)  # noqa: S311 - statistics, no secret
        # First the data as they are, each cluster once; then how often each resample has drawn each cluster.
        self._draws = [[1] * clusters]
        for _ in range(RESAMPLES if self._enough else 0):
            drawn = Counter(random.choices(range(clusters), k=clusters))
            self._draws.append([drawn[cluster] for cluster in range(clusters)])

    def sums(self, counts: Sequence[int]) -> list[int]:
        """The sum of `counts`, one per cluster, in the data and in each resample."""
        return [sum(map(mul, draw, counts)) for draw in self._draws]

    def estimate(self, values: Sequence[float | None]) -> Estimate:
        """The first value, the data's own, with an interval from the others, the resamples'.

        There is no interval if a resample has no value, as what is left would be a selection; nor if all have the same,
        as where nothing was sold: that says how little there is to draw from, not that the value is certain.
        """
        value, *others = values
        if value is None or not self._enough or None in others:
            return Estimate(value)
        low, *_, high = quantiles((other for other in others if other is not None), n=_PARTS, method="inclusive")
        return Estimate(value, low, high) if low < high else Estimate(value)


def ratios(over: Sequence[float | None], under: Sequence[float | None], per: int = 1) -> list[float | None]:
    """`per` times each of `over` by its counterpart; None where that is nothing or is not known."""
    return [per * a / b if a is not None and b else None for a, b in zip(over, under, strict=True)]


def differences(values: Sequence[float | None], others: Sequence[float | None]) -> list[float | None]:
    """Each of `values` less its counterpart; None where either is not known."""
    return [a - b if a is not None and b is not None else None for a, b in zip(values, others, strict=True)]
