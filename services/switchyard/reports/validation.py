"""An artefact in, nothing out: whatever its files could not show truthfully is refused before one is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NoReturn

from switchyard.errors import ReportError
from switchyard.reports.artefact import Artefact, Cell, Chart, Number, Series

#: More column names than this make no sentence.
_SHOWN = 6
_LARGEST = 1e100


def validate(artefact: Artefact) -> None:
    """Raises ReportError naming the first row, cell or series that is wrong, and what was expected there."""
    if not isinstance(artefact, Artefact):
        _refuse(f"report() returned a {type(artefact).__qualname__}, expected a switchyard.reports.Artefact")
    _check_lists(artefact)
    for item in artefact.headline:
        if not (isinstance(item, tuple | list) and len(item) == 2):
            _refuse(f"the headline holds {item!r}, expected pairs of a label and a value")
        label, cell = item
        _check_cell(cell, f"the headline {label!r}")
    _check_table(artefact.columns, artefact.rows, "the table")
    for title, (columns, rows) in artefact.more.items():
        _check_table(columns, rows, f"the table {title!r}")
    _check_chart(artefact.chart)


def _check_lists(artefact: Artefact) -> None:
    """What is listed must be a list: a text would be shown letter by letter, and what can be read once only not at all."""
    chart = artefact.chart
    lists: dict[str, object] = {"columns": artefact.columns, "rows": artefact.rows, "notes": artefact.notes, "headline": artefact.headline,
             "the chart's labels": chart.labels, "the chart's series": chart.series}  # fmt: skip
    for name, value in lists.items():
        if isinstance(value, str) or not isinstance(value, Sequence):
            _refuse(f"{name} is a {type(value).__qualname__}, expected a list or a tuple")
    for label in chart.labels:
        if not isinstance(label, str):
            _refuse(f"the chart has the label {label!r}, expected text")


def _check_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], where: str) -> None:
    for number, row in enumerate(rows, start=1):
        if isinstance(row, str) or not isinstance(row, Sequence):
            _refuse(f"row {number} of {where} is {row!r}, expected a list of cells")
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
    if not _is_finite(value):
        _refuse(f"{where} holds a number that is not finite, or too large; put None where there is none")


def _is_finite(value: Number) -> bool:
    try:
        # Beyond that no axis can be drawn to it, and no reader would know the number.
        return math.isfinite(value) and abs(float(value)) < _LARGEST
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
    if series.low and all(value is None for value in series.values):
        _refuse(f"{where} has intervals and no value, expected what they are around")
    for number, (low, high) in enumerate(zip(series.low or (), series.high or (), strict=True), start=1):
        if low > high:
            _refuse(f"{where}: interval {number} runs from {low} to {high}, expected low first")


def _refuse(what: str) -> NoReturn:
    raise ReportError(f"The artefact cannot be stored: {what}. Mend what the report's module returns.")
