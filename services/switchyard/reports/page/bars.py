"""A chart in, its horizontal bars out: where each begins and ends, in percent of whatever width the reader's screen has.

A bar is a row of text with a picture beside it, so names wrap, and letters keep their size on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from switchyard.reports.artefact import Chart, Series
from switchyard.reports.page.scale import Scale, covering, numbers
from switchyard.reports.page.words import column


@dataclass(frozen=True)
class Bar:
    """One row: its name and numbers as text, and percentages for the picture, None where there is nothing to draw."""

    name: str
    value: str
    interval: str
    colour: int
    zero: float
    begin: float | None
    end: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Group:
    """The bars of one label, with a heading if there are several series: then each bar bears its series' name."""

    heading: str | None
    bars: list[Bar]


def layout(chart: Chart) -> list[Group]:
    """The groups from top to bottom, in the order of the chart's labels."""
    scale = covering(numbers(chart))
    rows = [list(_bars(series, place, scale)) for place, series in enumerate(chart.series)]
    if len(rows) == 1:
        return [Group(None, [replace(bar, name=label)]) for bar, label in zip(rows[0], chart.labels, strict=True)]
    return [Group(label, [row[place] for row in rows]) for place, label in enumerate(chart.labels)]


def _bars(series: Series, colour: int, scale: Scale) -> Iterator[Bar]:
    lows, highs = series.low or [], series.high or []
    texts = column([*series.values, *lows, *highs])  # all alike, or 4.6 would stand above 4.25
    count, zero = len(series.values), scale.percent(0)
    for place, value in enumerate(series.values):
        at = None if value is None else scale.percent(value)
        interval = bool(lows)
        yield Bar(
            name=series.name,
            value=texts[place],
            interval=f"{texts[count + place]} to {texts[2 * count + place]}" if interval else "",
            colour=colour,
            zero=zero,
            begin=None if at is None else min(at, zero),
            end=None if at is None else max(at, zero),
            low=scale.percent(lows[place]) if interval else None,
            high=scale.percent(highs[place]) if interval else None,
        )
