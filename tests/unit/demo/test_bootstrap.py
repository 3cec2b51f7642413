"""Intervals, compared with what theory says of them."""

from math import sqrt
from random import Random
from statistics import NormalDist, stdev

import pytest

from demo.bootstrap import FEWEST_CLUSTERS, RESAMPLES, Bootstrap, Estimate, differences, ratios

CHANCE = Random(1)
#: Clusters of very different sizes, as stores are, and how many of each were hit.
SIZES = [CHANCE.randrange(100, 1000) for _ in range(200)]
HITS = [sum(CHANCE.random() < 0.3 for _ in range(size)) for size in SIZES]


def estimated(hits, sizes):
    bootstrap = Bootstrap(len(sizes))
    return bootstrap.estimate(ratios(bootstrap.sums(hits), bootstrap.sums(sizes)))


def test_the_interval_of_a_ratio_is_what_the_delta_method_gives():
    """Its ends are 1.96 standard errors from the ratio, to a tenth of that."""
    ratio = sum(HITS) / sum(SIZES)
    residuals = [hit - ratio * size for hit, size in zip(HITS, SIZES, strict=True)]
    error = stdev(residuals) * sqrt(len(SIZES)) / sum(SIZES)
    half = NormalDist().inv_cdf(0.975) * error
    found = estimated(HITS, SIZES)
    assert found.value == ratio
    assert (found.low, found.high) == (
        pytest.approx(ratio - half, abs=half / 10),
        pytest.approx(ratio + half, abs=half / 10),
    )


def test_clusters_that_differ_make_the_interval_wider():
    """The same hits in all, but half of the clusters have none: as single rows this could not be seen."""
    clumped = [2 * hit if number % 2 else 0 for number, hit in enumerate(HITS)]
    even, uneven = estimated(HITS, SIZES), estimated(clumped, SIZES)
    assert uneven.high - uneven.low > 5 * (even.high - even.low)


def test_the_same_counts_have_the_same_interval():
    """Draws depend on nothing but the seed and the number of clusters."""
    assert estimated(HITS, SIZES) == estimated(HITS, SIZES)
    assert len(Bootstrap(20).sums([1] * 20)) == 1 + RESAMPLES


def test_few_clusters_have_a_value_and_no_interval():
    """One more than the fewest has one."""
    fewest = FEWEST_CLUSTERS
    assert estimated(HITS[: fewest - 1], SIZES[: fewest - 1]).low is None
    assert estimated(HITS[: fewest - 1], SIZES[: fewest - 1]).value is not None
    assert estimated(HITS[:fewest], SIZES[:fewest]).low is not None


def test_what_some_resamples_cannot_know_has_no_interval():
    """One cluster of twenty has all there is to compare: a third of the resamples miss it."""
    sizes = [7] + [0] * 19
    assert estimated([3] + [0] * 19, sizes) == Estimate(3 / 7)


def test_nothing_sold_is_not_nothing_for_certain():
    """Every resample of zeros is zero, which is no interval."""
    assert estimated([0] * 20, [5] * 20) == Estimate(0)


def test_ratios_and_differences_of_what_is_not_known_are_not_known():
    """Neither by nothing, nor of nothing."""
    assert ratios([1, None, 1, 0], [2, 2, 0, None], per=10) == [5, None, None, None]
    assert differences([3, None, 3], [1, 1, None]) == [2, None, None]
