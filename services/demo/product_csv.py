"""Someone's own CSV comes in, products and refused lines go out to the seed.

One broken row costs that row alone: not the rows behind it, as an unclosed quote would, and not the whole file.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from demo.errors import ProductError, SeedError
from demo.product import COLUMNS, Product, parse_product

#: Lines that one quoted field may span; a quote still open after them was never closed.
MOST_LINES = 100
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True)
class Refusal:
    """A row that was left out, and why."""

    line: int
    reason: str


@dataclass
class _Lines:
    """The lines of a file with their numbers; some may be put back to be read again."""

    lines: Iterator[str]
    number: int = 0  # of the line taken last
    _again: deque[str] = field(default_factory=deque)

    def take(self) -> str | None:
        line = self._again.popleft() if self._again else next(self.lines, None)
        self.number += line is not None
        return line

    def put_back(self, lines: list[str]) -> None:
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)


@dataclass(frozen=True)
class ProductCsv:
    """An open products file whose header has been read."""

    header: list[str]
    _lines: _Lines

    @property
    def ignored(self) -> list[str]:
        """The header's columns that describe no product."""
        return [name for name in self.header if name not in COLUMNS]

    def rows(self) -> Iterator[Product | Refusal]:
        """Each row as a product, or as the reason why it is none."""
        first_lines: dict[int, int] = {}
        for line, record in _records(self._lines):
            try:
                product = self._product(record)
                _check_first(product["product_id"], line, first_lines)
            except ProductError as exc:
                yield Refusal(line, str(exc))
            else:
                yield product

    def _product(self, record: list[str] | ProductError) -> Product:
        if isinstance(record, ProductError):
            raise record
        if len(record) > len(self.header):
            raise ProductError(f"{len(record)} columns where the header has {len(self.header)}.")
        texts = {name: text.strip() or None for name, text in zip(self.header, record, strict=False)}
        numbers = {name: _number(texts.get(name)) for name in ("product_id", "manufacturer_id")}
        if numbers["product_id"] is None:
            raise ProductError("the product_id is missing.")
        return parse_product({**texts, **numbers})


def read_csv(path: Path) -> Iterator[str]:
    """The lines of `path`, in UTF-8; bytes that are none come as lone surrogates. Raises SeedError."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from file
    except OSError as exc:
        raise SeedError(f"{str(path)!r} cannot be read: {exc.strerror}. Name a CSV file with --file.") from exc


def open_csv(path: Path) -> ProductCsv:
    """Read the header of the CSV file at `path`. Raises SeedError when it cannot be read or names no product_id."""
    lines = _Lines(read_csv(path))
    record = next((record for _, record in _records(lines)), None)
    if record is None:
        raise SeedError(f"{str(path)!r} is empty. Its first line must name the columns, product_id among them.")
    if isinstance(record, ProductError):
        raise SeedError(f"The header of {str(path)!r} cannot be read: {record}") from record
    header = [name.strip().lower() for name in record]
    if header.count("product_id") != 1 or any(header.count(name) > 1 for name in COLUMNS):
        raise SeedError(
            f"The header of {str(path)!r} is {', '.join(header)[:200]!r}. It must name product_id, and no column twice; "
            "commas separate the columns."
        )
    return ProductCsv(header, lines)


def _records(lines: _Lines) -> Iterator[tuple[int, list[str] | ProductError]]:
    """Each record that is not blank, with the number of the line it starts in."""
    while (line := lines.take()) is not None:
        if line.strip():
            yield lines.number, _record(line, lines)


def _record(line: str, lines: _Lines) -> list[str] | ProductError:
    """The record that starts with `line`; more lines are taken while a quoted field stays open."""
    taken = [line]
    while True:
        try:
            record = next(csv.reader(taken, strict=True))
        except csv.Error as exc:
            unclosed = str(exc) == "unexpected end of data"
            if unclosed and len(taken) < MOST_LINES and (more := lines.take()) is not None:
                taken.append(more)
                continue
            # What looked like one field may be a hundred good rows behind a stray quote.
            lines.put_back(taken[1:])
            return ProductError("a quote is never closed." if unclosed else f"{exc}.")
        return _decoded(record)


def _decoded(record: list[str]) -> list[str] | ProductError:
    try:
        "".join(record).encode()
    except UnicodeEncodeError:
        return ProductError("bytes that are not UTF-8.")
    return record


def _check_first(product_id: int, line: int, first_lines: dict[int, int]) -> None:
    if (first := first_lines.setdefault(product_id, line)) != line:
        raise ProductError(f"product_id {product_id} is in line {first} already.")


def _number(text: str | None) -> int | str | None:
    return int(text) if text and _WHOLE_NUMBER.fullmatch(text) else text
