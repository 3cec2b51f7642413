"""An artefact's CSV file: what a spreadsheet, another reader and an attacker find in it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from tests.artefacts import bars

from switchyard.reports.spreadsheet import render_csv


def rendered(*rows: list, columns: list[str] | None = None) -> bytes:
    width = len(rows[0]) if rows else 1
    return render_csv(replace(bars(), columns=columns or [f"c{n}" for n in range(width)], rows=rows))


def cells(*rows: list) -> list[list[str]]:
    """What Python's own reader makes of it, without the header."""
    return list(csv.reader(io.StringIO(rendered(*rows).decode("utf-8-sig"), newline="")))[1:]


def test_a_file_is_marked_as_utf_8_and_has_crlf_line_ends() -> None:
    """Excel needs the mark to see anything but ASCII; RFC 4180 wants the line ends."""
    assert rendered(["Käse", 1], columns=["name", "n"]) == b"\xef\xbb\xbfname,n\r\nK\xc3\xa4se,1\r\n"


def test_separators_quotes_and_line_breaks_are_quoted() -> None:
    """And come back as they were."""
    row = ["a,b", 'say "x"', "two\nlines"]
    assert b'"a,b","say ""x""","two\nlines"' in rendered(row)
    assert cells(row) == [row]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (None, ""),
        (-5, "-5"),
        (-2.5, "-2.5"),
        (0.1 + 0.2, "0.30000000000000004"),  # nothing is rounded here
        (1234567, "1234567"),
        (Decimal("-12.50"), "-12.50"),
        (Decimal("1E+3"), "1000"),
        (date(2017, 3, 1), "2017-03-01"),
        ("2017-03-01", "2017-03-01"),
    ],
)
def test_values_stay_values(cell: object, written: str) -> None:
    """Numbers are numbers, also below zero; money has its cents; a date is ISO."""
    assert cells(["x", cell]) == [["x", written]]


@pytest.mark.parametrize(
    "text",
    [
        # each character of OWASP's list
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\rx",
        "\nx",
        # the full-width forms, which Excel reads as the narrow ones
        "\uff1d1+1",
        "\uff0b1",
        "\uff0d1",
        "\uff201",
        # what a reader trims before it looks
        "  =1",
        "\u00a0=1",
        '"=1"',
        "'=1",
        "\ufeff=1",
        "\u200b=1",
        "\0=1",
        "=cmd|' /C calc'!A0",
    ],
)
def test_text_that_would_run_as_a_formula_starts_with_an_apostrophe(text: str) -> None:
    """In a cell and in a column's name; removing one apostrophe gives back what it was."""
    [[_, cell]] = cells(["x", text])
    assert cell[0] == "'"
    assert cell[1:].replace("\t'", "\t") == text
    header = rendered([1], columns=[text]).decode("utf-8-sig")
    assert header.lstrip('"')[0] == "'"


@pytest.mark.parametrize("separator", [";", "\t", "\n", "\r"])
def test_a_formula_hides_behind_no_other_separator(separator: str) -> None:
    """Excel splits at semicolons in half of Europe, and there the quotes of our second cell mean nothing."""
    text = f"harmless{separator} =HYPERLINK(1){separator}"
    for reader in (csv.reader(rendered([1, text]).decode("utf-8-sig").splitlines(), delimiter=d) for d in ";\t"):
        assert not [cell for row in reader for cell in row if cell.strip(" \"'").startswith("=") and "'" not in cell]
    assert cells([1, text]) == [["1", f"harmless{separator}' =HYPERLINK(1){separator}"]]


@pytest.mark.parametrize("text", ["a-b", "a = b", "me@example.org", "x; y", "1-2; 3", "", "'quoted'", "été"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    """An apostrophe where none is needed is noise."""
    assert cells(["x", text]) == [["x", text]]


def test_no_rows_are_a_header() -> None:
    """Readers that expect columns find them."""
    assert render_csv(replace(bars(), columns=["a", "b"], rows=[])) == b"\xef\xbb\xbfa,b\r\n"


def test_the_file_has_every_row_of_a_long_table() -> None:
    """Unlike the page."""
    assert len(cells(*[[n] for n in range(2000)])) == 2000


def test_half_a_character_costs_a_question_mark_not_the_report() -> None:
    """A lone surrogate has no UTF-8 form."""
    assert cells(["x", "a\ud800b"]) == [["x", "a?b"]]
