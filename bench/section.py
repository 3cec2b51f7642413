"""What a bench has found, as it is shown: on the terminal, and as a section of docs/performance.md with its bars.

A bench that `make bench` without B runs has in its `__main__` a function

    def short() -> Section:

that measures the bench's short form, on a Redis and workers of its own, prints a line of progress every few seconds with
`bench.section.out`, and returns what it has found. Raises SwitchyardError when nothing could be measured.
Its own `main` may show the same by `show(section)`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

#: A pipe has no width, and a line of a table is one line.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


@dataclass(frozen=True)
class Bar:
    """One bar: whose it is, how long it is in the chart's unit, and whether it is ours, which is drawn in another colour."""

    label: str
    value: float
    ours: bool = False


@dataclass(frozen=True)
class Chart:
    """Horizontal bars from zero on one scale. `name` is a file's, docs/images/<name>.svg; `title` says what is measured, and in what."""

    name: str
    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Section:
    """What one bench has found. Cells are text, formatted already (`bench.numbers`); the first column is words, the others numbers.

    `about` is what was done, in a sentence or two without results; `command` measures the same in its long form; `sentences`
    are what the numbers mean, made of the numbers. Text is plain, with `code` in backquotes.
    """

    title: str
    about: str
    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    sentences: Sequence[str] = ()
    charts: Sequence[Chart] = ()


def show(section: Section) -> None:
    """Print the table, and what it means."""
    table = Table(box=None, pad_edge=False)
    for place, column in enumerate(section.columns):
        table.add_column(column, justify="right" if place else "left")
    for row in section.rows:
        table.add_row(*row)
    out.print(table)
    for sentence in section.sentences:
        out.print(sentence, markup=False)
