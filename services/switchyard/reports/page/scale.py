"""Numbers in, places on a picture out: a scale that always shows zero, so that no chart exaggerates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from switchyard.reports.artefact import Chart, Number

_TICKS = 5


@dataclass(frozen=True)
class Scale:
    """A span of numbers, zero always in it."""

    low: float
    high: float

    def share(self, value: Number) -> float:
        """How far along the span the value is, from 0 to 1."""
        return (float(value) - self.low) / (self.high - self.low)

    def percent(self, value: Number) -> float:
        """The same as an SVG attribute takes it, short enough to read."""
        return round(100 * self.share(value), 2)


def numbers(chart: Chart) -> list[Number]:
    """Everything the chart must have room for: values and the ends of their intervals."""
    every = (values for series in chart.series for values in (series.values, series.low, series.high))
    return [value for values in every for value in values or () if value is not None]


def covering(values: Iterable[Number]) -> Scale:
    """The scale from the lowest of the values, or zero, to the highest."""
    floats = [0.0, *(float(value) for value in values)]
    low, high = min(floats), max(floats)
    return Scale(low, high if high > low else low + 1)


def ticks(scale: Scale) -> tuple[Scale, list[float]]:
    """Round numbers about a fifth of the span apart, and the scale widened to the first and last of them."""
    rough = (scale.high - scale.low) / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.floor(scale.low / step + 1e-9), math.ceil(scale.high / step - 1e-9)
    found = [round(number * step, 12) for number in range(first, last + 1)]
    return Scale(found[0], found[-1]), found
