"""A chart in, a sentence or two out: what somebody who cannot see it is told; every number is in the table besides."""

from __future__ import annotations

from switchyard.reports.artefact import Chart, Series
from switchyard.reports.page.words import column

#: More series than this are a list that nobody listens to.
_TOLD = 8


def describe(chart: Chart) -> str:
    """What kind of picture it is, and each series' lowest and highest value."""
    kind = "Bar chart" if chart.kind == "bars" else "Line chart"
    told = " ".join(_extremes(series, chart) for series in chart.series[:_TOLD])
    rest = len(chart.series) - _TOLD
    return f"{kind} of {chart.unit}. {told}{f' And {rest} more.' if rest > 0 else ''}"


def _extremes(series: Series, chart: Chart) -> str:
    present = [(value, place) for place, value in enumerate(series.values) if value is not None]
    if not present:
        return f"{series.name}: no values."
    low, high = min(present), max(present)
    texts = column(series.values)
    return f"{series.name}: lowest {texts[low[1]]} ({chart.labels[low[1]]}), highest {texts[high[1]]} ({chart.labels[high[1]]})."
