"""An artefact in, nothing out: whatever its files could not show truthfully is refused before one is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from switchyard.errors import ReportError
from switchyard.reports.artefact import Artefact, Cell, Chart, Number, Series

#: More column names than this make no sentence.
_SHOWN = 6


def validate(artefact: Artefact) -> None:
    """Raises ReportError naming the first row, cell or series that is wrong, and what was expected there."""
    for label, cell in artefact.headline:
        _check_cell(cell, f"the headline {label!r}")
    _check_table(artefact.columns, artefact.rows, "the table")
    for title, (columns, rows) in artefact.more.items():
        _check_table(columns, rows, f"the table {title!r}")
    _check_chart(artefact.chart)


def _check_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], where: str) -> None:
    for number, row in enumerate(rows, start=1):
        if len(row) != len(columns):
            names = ", ".join([*columns[:_SHOWN], *(["…"] if len(columns) > _SHOWN else [])])
            _refuse(f"row {number} of {where} has {len(row)} cells, expected {len(columns)} ({names})")
        for column, cell in zip(columns, row, strict=True):
            _check_cell(cell, f"row {number} of {where}, column {column!r},")


def _check_cell(cell: Cell, where: str) -> None:
    if cell is None or isinstance(cell, str | date):
        return
    if not isinstance(cell, int | float | Decimal):
        _refuse(f"{where} holds a {type(cell).__qualname__}, expected text, a number, a date or None")
    _check_number(cell, where)


def _check_number(value: object, where: str) -> None:
    if not isinstance(value, int | float | Decimal):
        _refuse(f"{where} holds {value!r}, expected a number")
    elif not _is_finite(value):
        _refuse(f"{where} holds a number that is not finite, or too large; put None where there is none")


def _is_finite(value: Number) -> bool:
    try:
        return math.isfinite(value)
    except (OverflowError, ValueError):  # an integer of 400 digits; a signalling NaN
        return False


def _check_chart(chart: Chart) -> None:
    if chart.kind not in ("bars", "lines"):
        _refuse(f"the chart's kind is {chart.kind!r}, expected 'bars' or 'lines'")
    for series in chart.series:
        _check_series(series, len(chart.labels))


def _check_series(series: Series, labels: int) -> None:
    where = f"the chart's series {series.name!r}"
    if (series.low is None) != (series.high is None):
        _refuse(f"{where} has one end of an interval, expected both low and high, or neither")
    for name, values in (("values", series.values), ("low", series.low), ("high", series.high)):
        if values is not None and len(values) != labels:
            _refuse(f"{where} has {len(values)} {name}, expected {labels}, one per label")
        for number, value in enumerate(values or (), start=1):
            if value is not None or name != "values":
                _check_number(value, f"{where}, {name} {number},")
    for number, (low, high) in enumerate(zip(series.low or (), series.high or (), strict=True), start=1):
        if low > high:
            _refuse(f"{where}: interval {number} runs from {low} to {high}, expected low first")


def _refuse(what: str) -> None:
    raise ReportError(f"The artefact cannot be stored: {what}. Mend what the report's module returns.")
