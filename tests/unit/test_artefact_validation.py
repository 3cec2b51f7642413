"""What an artefact must not be: each mistake is a sentence that says where it is."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.artefacts import bars, facts, hostile, intervals, lines

from switchyard.errors import ReportError
from switchyard.reports.artefact import Artefact, Chart, Series
from switchyard.reports.files import store
from switchyard.reports.storage import Folder
from switchyard.reports.validation import validate

LABELS = ["a", "b", "c"]


def charted(*series: Series, kind: Any = "bars") -> Artefact:
    return replace(bars(), chart=Chart(kind, LABELS, series, "units"))


def tabled(*rows: list) -> Artefact:
    return replace(bars(), columns=["week", "department", "revenue", "units"], rows=rows)


@pytest.mark.parametrize(
    "artefact", [bars(), lines(), intervals(), hostile("x"), replace(bars(), rows=[], headline=[])]
)
def test_a_sound_artefact_is_accepted(artefact: Artefact) -> None:
    """An empty one too."""
    validate(artefact)


@pytest.mark.parametrize(
    ("artefact", "said"),
    [
        # a forgotten return, and other things that are none
        (None, "report() returned a NoneType, expected a switchyard.reports.Artefact"),
        ({"title": "x"}, "report() returned a dict"),
        # lists that are none
        (replace(bars(), notes="one sentence"), "notes is a str, expected a list or a tuple"),
        (replace(bars(), columns="a"), "columns is a str"),
        (replace(bars(), rows=iter([])), "rows is a list_iterator"),
        (replace(bars(), rows=[3]), "row 1 of the table is 3, expected a list of cells"),
        (
            replace(bars(), headline=[("a", 1, 2)]),
            "the headline holds ('a', 1, 2), expected pairs of a label and a value",
        ),
        (
            replace(bars(), chart=Chart("lines", [2017], [Series("a", [1])], "x")),
            "the chart has the label 2017, expected text",
        ),
        (
            replace(bars(), chart=Chart("lines", ["a"], [Series("a", [None], [1], [2])], "x")),
            "has intervals and no value",
        ),
        (
            replace(bars(), headline=[("huge", 1e300)]),
            "the headline 'huge' holds a number that is not finite, or too large",
        ),
        (
            tabled(*[["W1", "MEAT", 1, 2]] * 16, ["W1", "MEAT", 1]),
            "row 17 of the table has 3 cells, expected 4 (week, department, revenue, units)",
        ),
        (
            replace(bars(), columns=list("abcdefgh"), rows=[[1]]),
            "row 1 of the table has 1 cells, expected 8 (a, b, c, d, e, f, …)",
        ),
        (
            replace(bars(), more={"By type": (["a"], [[1, 2]])}),
            "row 1 of the table 'By type' has 2 cells, expected 1 (a)",
        ),
        (
            tabled(["W1", "MEAT", float("nan"), 2]),
            "row 1 of the table, column 'revenue', holds a number that is not finite",
        ),
        (tabled(["W1", "MEAT", Decimal("Infinity"), 2]), "column 'revenue', holds a number that is not finite"),
        (tabled(["W1", "MEAT", Decimal("sNaN"), 2]), "column 'revenue', holds a number that is not finite"),
        (tabled(["W1", "MEAT", 10**400, 2]), "column 'revenue', holds a number that is not finite, or too large"),
        (tabled(["W1", ["MEAT"], 1, 2]), "column 'department', holds a list, expected text, a number, a date or None"),
        (replace(bars(), headline=[("Share", float("inf"))]), "the headline 'Share' holds a number that is not finite"),
        (charted(kind="pie"), "the chart's kind is 'pie', expected 'bars' or 'lines'"),
        (charted(Series("s", [1, 2])), "the chart's series 's' has 2 values, expected 3, one per label"),
        (charted(Series("s", [1, 2, 3], low=[1], high=[2, 3, 4])), "has 1 low, expected 3"),
        (charted(Series("s", [1, 2, 3], low=[1, 2, 3])), "has one end of an interval, expected both low and high"),
        (
            charted(Series("s", [1, 2, 3], low=[1, 9, 3], high=[2, 3, 4])),
            "interval 2 runs from 9 to 3, expected low first",
        ),
        (charted(Series("s", [1, float("nan"), 3])), "series 's', values 2, holds a number that is not finite"),
        (charted(Series("s", [1, "2", 3])), "series 's', values 2, holds '2', expected a number"),  # type: ignore[list-item]
        (charted(Series("s", [1, 2, 3], low=[1, None, 1], high=[4, 4, 4])), "low 2, holds None, expected a number"),  # type: ignore[list-item]
    ],
)
def test_a_mistake_is_a_sentence_that_says_where(artefact: Artefact, said: str, tmp_path: Path) -> None:
    """And what is expected there; nothing is stored."""
    with pytest.raises(ReportError) as refused:
        store(artefact, facts(), Folder(tmp_path / "artefacts"))
    assert said in str(refused.value)
    assert str(refused.value).startswith("The artefact cannot be stored: ")
    assert str(refused.value).endswith("Mend what the report's module returns.")
    assert not (tmp_path / "artefacts").exists()
