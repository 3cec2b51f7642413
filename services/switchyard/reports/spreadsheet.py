"""An artefact's table in, a CSV file out that a spreadsheet opens as the numbers it holds, and runs nothing of."""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from decimal import Decimal

from switchyard.reports.artefact import Artefact, Cell

#: Excel takes a CSV file without this mark for the machine's old code page, and every letter beyond ASCII goes wrong.
_MARK = "\ufeff"
#: What readers trim before they look, and then take for a formula: owasp.org/www-community/attacks/CSV_Injection
_RUNS = r"""(?:[^\S\t\r\n]|[\0\u200b-\u200f\u202a-\u202e\u2060\ufeff"'])*[=+\-@\uff1d\uff0b\uff0d\uff20]"""
#: Where a cell may begin: at the start, and wherever a reader that splits at another separator than the comma would
#: begin one, as Excel does in half of Europe; there no quotes help.
_FORMULA = re.compile(rf"^(?={_RUNS}|[\t\r\n])|(?<=[;\t\r\n])(?={_RUNS})")


def render_csv(artefact: Artefact) -> bytes:
    """The whole table: RFC 4180, UTF-8, dates in ISO form, numbers in full and without separators, None empty."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)  # commas, CRLF, and quotes where they are needed
    writer.writerow([_text(column) for column in artefact.columns])
    writer.writerows([_written(cell) for cell in row] for row in artefact.rows)
    # A lone surrogate has no UTF-8 form; one odd letter must not cost the report.
    return (_MARK + file.getvalue()).encode("utf-8", "replace")


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return f"{cell:f}"  # never 1E+3
    if isinstance(cell, date):
        return cell.isoformat()
    return _text(cell) if isinstance(cell, str) else str(cell)


def _text(text: str) -> str:
    """Text that stays text: an apostrophe before whatever would start a formula."""
    return _FORMULA.sub("'", text)
