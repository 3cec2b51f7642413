"""Cells in, what a person reads out: thousands apart, money to the cent, as many digits down a whole column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TypeGuard

from switchyard.reports.artefact import Cell, Number

#: More digits than these are noise to a reader; the CSV file has all.
_PLACES = 6
_LARGE = ((1e12, "tn"), (1e9, "bn"), (1e6, "M"))


def is_number(cell: Cell) -> TypeGuard[Number]:
    """Whether the cell is a quantity, to be aligned at its right end; a truth value is none."""
    return isinstance(cell, int | float | Decimal) and not isinstance(cell, bool)


def is_quantity(cells: Sequence[Cell]) -> bool:
    """Whether a column holds numbers and nothing else."""
    return any(is_number(cell) for cell in cells) and all(cell is None or is_number(cell) for cell in cells)


def column(cells: Sequence[Cell]) -> list[str]:
    """The cells of one column as text; nothing for None."""
    floats = _float_places([abs(cell) for cell in cells if isinstance(cell, float)])
    decimals = _decimal_places([cell for cell in cells if isinstance(cell, Decimal)])
    return [_written(cell, floats, decimals) for cell in cells]


def short(number: float) -> str:
    """A round number, as an axis shows it: 2,500 or 1.5M."""
    for size, name in _LARGE:
        if abs(number) >= size:
            return _signed(f"{number / size:,.4g}{name}")
    return _signed(f"{number:,.10g}")


def cut(text: str, longest: int) -> str:
    """The text, or as much of it as there is room for; the tables have all of it."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _written(cell: Cell, floats: int, decimals: int) -> str:
    if cell is None:
        return ""
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float | Decimal):
        return _signed(f"{cell:z,.{floats if isinstance(cell, float) else decimals}f}")
    return _signed(f"{cell:,}") if is_number(cell) else str(cell)


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _float_places(sizes: list[float]) -> int:
    """Three digits of the largest, and at least one after the point: a float that shows none looks like a count."""
    largest = max(sizes, default=0.0)
    return max(1, min(_PLACES, 2 - math.floor(math.log10(largest)))) if largest else 1


def _decimal_places(values: list[Decimal]) -> int:
    """Cents, or as many as the most exact of them has."""
    exponents = [value.as_tuple().exponent for value in values]
    return min(_PLACES, max([2, *(-exponent for exponent in exponents if isinstance(exponent, int))]))
