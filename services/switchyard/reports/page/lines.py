"""A chart in, its lines over time out: across in percent of whatever width the screen has, down in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from switchyard.reports.artefact import Chart, Number, Series
from switchyard.reports.page.scale import Scale, covering, numbers, ticks
from switchyard.reports.page.words import cut, short

_HEIGHT = 300
#: Between the names at the ends of two lines.
_GAP = 18
#: Longer names are cut at the lines' ends; the legend and the table have them whole.
_NAME = 26
_LABEL = 12
#: Labels below the picture; a phone shows the ends and the middle.
_LABELS = 5
#: With so few points each is marked, so that one sees where the numbers are and where only the line is.
_MARKED = 14
#: How wide the lines' own coordinates are; the page stretches them.
WIDTH = 1000


@dataclass(frozen=True)
class Line:
    """One series: SVG paths of the line and of the band around it, points to mark, and where its name goes."""

    name: str
    short_name: str
    colour: int
    path: str
    band: str
    #: Percent across, pixels down.
    points: list[tuple[float, float]]
    name_at: float


@dataclass(frozen=True)
class Label:
    """A label below the picture, a `minor` one where there is room."""

    text: str
    at: float
    anchor: str
    minor: bool


@dataclass(frozen=True)
class Picture:
    """Everything the template needs to draw."""

    height: int
    zero: float
    ticks: list[tuple[float, str]]
    labels: list[Label]
    lines: list[Line]


@dataclass(frozen=True)
class _Plot:
    """Where a label is across, and a value down."""

    across: list[float]
    scale: Scale
    height: int

    def down(self, value: Number) -> float:
        return round(self.height * (1 - self.scale.share(value)), 1)


def layout(chart: Chart) -> Picture:
    """Where everything goes. Zero is always in the picture; a line is broken where a value is None.

    A series without any value has no line, and no name where a reader would look for one.
    """
    drawn = [(n, series) for n, series in enumerate(chart.series) if any(v is not None for v in series.values)]
    scale, marks = ticks(covering(numbers(chart)))
    last = len(chart.labels) - 1
    across = [round(100 * n / last, 2) if last else 50.0 for n in range(last + 1)]
    plot = _Plot(across, scale, height=max(_HEIGHT, _GAP * (len(drawn) + 1)))
    names = _apart([_end(series, plot) for _, series in drawn], plot.height)
    return Picture(
        height=plot.height,
        zero=plot.down(0),
        ticks=[(plot.down(mark), short(mark)) for mark in marks],
        labels=list(_labels(chart.labels, across)),
        lines=[_line(series, n, plot, name_at) for (n, series), name_at in zip(drawn, names, strict=True)],
    )


def _line(series: Series, colour: int, plot: _Plot, name_at: float) -> Line:
    runs = list(_runs(series.values, plot))
    every = len(plot.across) <= _MARKED
    return Line(
        name=series.name,
        short_name=cut(series.name, _NAME),
        colour=colour,
        path="".join(_path(run) for run in runs),
        band=_band(series, plot),
        points=[point for run in runs if every or len(run) == 1 for point in run],
        name_at=name_at,
    )


def _runs(values: Sequence[Number | None], plot: _Plot) -> Iterator[list[tuple[float, float]]]:
    """The points of each stretch without a gap."""
    run: list[tuple[float, float]] = []
    for x, value in zip(plot.across, values, strict=True):
        if value is not None:
            run.append((x, plot.down(value)))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x * WIDTH / 100:g} {y:g}" for x, y in points)


def _band(series: Series, plot: _Plot) -> str:
    if not series.low or not series.high:
        return ""
    there = [(x, plot.down(high)) for x, high in zip(plot.across, series.high, strict=True)]
    back = [(x, plot.down(low)) for x, low in zip(plot.across, series.low, strict=True)]
    return _path([*there, *reversed(back)]) + "Z"


def _end(series: Series, plot: _Plot) -> float:
    return plot.down(next(value for value in reversed(series.values) if value is not None))


def _apart(places: list[float], height: int) -> list[float]:
    """The names' places, moved as little as keeps them readable: down from their neighbours, then up from the bottom."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for above, this in pairwise(order):
        moved[this] = max(moved[this], moved[above] + _GAP)
    limit = float(height)
    for this in reversed(order):
        moved[this] = min(moved[this], limit)
        limit = moved[this] - _GAP
    return [round(place, 1) for place in moved]


def _labels(labels: Sequence[str], across: list[float]) -> Iterator[Label]:
    count = min(len(labels), _LABELS)
    for number in range(count):
        place = round(number * (len(labels) - 1) / (count - 1)) if count > 1 else 0
        at = across[place]
        anchor = "middle" if 0 < at < 100 else "start" if at == 0 else "end"
        yield Label(cut(labels[place], _LABEL), at, anchor, minor=2 * number not in (0, count - 1, 2 * count - 2))
