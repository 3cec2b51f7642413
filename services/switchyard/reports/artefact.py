"""What a report hands to the core: numbers, a chart, and what they were made from; never a file or a format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal, TypeAlias

#: What a table's cell may hold. Money is Decimal: floats lose cents. Years and ids are text: numbers get separators.
Cell: TypeAlias = str | int | float | Decimal | date | None
#: What a chart can draw.
Number: TypeAlias = int | float | Decimal


@dataclass(frozen=True)
class Series:
    """One line, or one colour of bars: a value per label of its chart, None where there is none.

    `low` and `high`, if given, are the ends of an interval around each value.
    """

    name: str
    values: Sequence[Number | None]
    low: Sequence[Number] | None = None
    high: Sequence[Number] | None = None


@dataclass(frozen=True)
class Chart:
    """The picture that carries the message: horizontal bars to compare, or lines over time."""

    kind: Literal["bars", "lines"]
    labels: Sequence[str]
    series: Sequence[Series]
    #: What the values count, for the axis: "redemptions", "US $ a week".
    unit: str


@dataclass(frozen=True)
class Artefact:
    """One report's outcome. The core adds parameters, the time, the workflow's id, and makes files of it."""

    title: str
    #: The sentence that the chart shows to be true.
    message: str
    #: What is printed first, and shown biggest: (label, value).
    headline: Sequence[tuple[str, Cell]]
    chart: Chart
    columns: Sequence[str]
    #: The whole table; a row has a cell per column.
    rows: Sequence[Sequence[Cell]]
    #: Where the numbers come from.
    source: str
    #: What they cover: "2017-01-01 to 2017-12-31".
    period: str
    #: Rows read, by table: {"transactions": 1469307}.
    row_counts: Mapping[str, int]
    #: Further small tables by title, for the page only: (columns, rows).
    more: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Cell]]]] = field(default_factory=dict)
    #: How it was computed, and what a reader must know to quote it; a sentence each.
    notes: Sequence[str] = field(default=())
