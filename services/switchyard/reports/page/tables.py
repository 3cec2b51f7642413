"""Columns and rows in, tables out as a page shows them: text in every cell, and how each column is set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from switchyard.reports.artefact import Cell
from switchyard.reports.page.words import column, is_quantity

#: Text up to this length stays on one line: a wide table scrolls, which is easier to read than a column of syllables.
_SHORT = 24


@dataclass(frozen=True)
class Table:
    """A table as the template takes it; `total` rows exist, `rows` are the first of them."""

    columns: Sequence[str]
    #: For each column: "number" is aligned at its right end, "short" is never broken, as dates are at their hyphens.
    kinds: list[str]
    rows: list[tuple[str, ...]]
    total: int


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], longest: int | None = None) -> Table:
    """The first `longest` rows as text, or all."""
    shown = rows[:longest]
    cells = [[row[place] for row in shown] for place in range(len(columns))]
    texts = [column(values) for values in cells]
    kinds = [_kind(values, words) for values, words in zip(cells, texts, strict=True)]
    return Table(columns, kinds, list(zip(*texts, strict=True)), len(rows))


def _kind(cells: Sequence[Cell], texts: Sequence[str]) -> str:
    if is_quantity(cells):
        return "number"
    return "short" if all(len(text) <= _SHORT for text in texts) else "text"
