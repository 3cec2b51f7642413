"""What a report is asked for: text in, checked parameters and spans of days out; and every way in which they are refused."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import ValidationError, model_validator

from switchyard.errors import ReportError
from switchyard.reports import Parameters, Period
from switchyard.reports.parameters import as_text, checked

MANY = 300
DAY = timedelta(days=1)


def days(period: Period) -> list[date]:
    return [period.first + n * DAY for n in range((period.last - period.first).days + 1)]


# --- Periods


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        # a year, a month, a day
        ("2017", date(2017, 1, 1), date(2017, 12, 31)),
        ("2017-05", date(2017, 5, 1), date(2017, 5, 31)),
        ("2017-05-14", date(2017, 5, 14), date(2017, 5, 14)),
        # a short month, in a leap year and not; the last month of a year
        ("2016-02", date(2016, 2, 1), date(2016, 2, 29)),
        ("1900-02", date(1900, 2, 1), date(1900, 2, 28)),
        ("2017-12", date(2017, 12, 1), date(2017, 12, 31)),
        # two of them, of the same kind or not: from the beginning of one to the end of the other
        ("2016..2017", date(2016, 1, 1), date(2017, 12, 31)),
        ("2017-05..2017-06-15", date(2017, 5, 1), date(2017, 6, 15)),
        ("2017-05-14..2017", date(2017, 5, 14), date(2017, 12, 31)),
        ("2017..2017", date(2017, 1, 1), date(2017, 12, 31)),
        ("2017-05-14..2017-05-14", date(2017, 5, 14), date(2017, 5, 14)),
        # spaces around do not matter
        (" 2017-05 .. 2017-06 ", date(2017, 5, 1), date(2017, 6, 30)),
        # a number looks like a year: JSON and TOML have no quotes around it
        (2017, date(2017, 1, 1), date(2017, 12, 31)),
        # the first and the last that there are
        ("0001..9999", date.min, date.max),
    ],
)
def test_a_period_is_read_as_people_write_it(text: object, first: date, last: date) -> None:
    """Both ends are in it."""
    assert Period.parse(text) == Period(first, last)


def test_a_year_is_its_months_and_a_month_its_days() -> None:
    """Of many years: the parts lie one after the other, without a gap, and are the whole; leap days included."""
    dice = random.Random(4)
    for year in [1900, 2000, *(dice.randint(1, 9998) for _ in range(50))]:
        whole = Period.parse(f"{year:04}")
        months = [Period.parse(f"{year:04}-{month:02}") for month in range(1, 13)]
        assert [day for month in months for day in days(month)] == days(whole)
        assert [Period.parse(str(day)) for day in days(whole)] == [Period(day, day) for day in days(whole)]
        assert {day.year for day in days(whole)} == {year}


def test_a_period_contains_its_days_and_no_others() -> None:
    """For many random spans, to the day."""
    dice = random.Random(5)
    for _ in range(MANY):
        first = date(2017, 1, 1) + dice.randint(0, 1000) * DAY
        period = Period(first, first + dice.randint(0, 1000) * DAY)
        assert all(day in period for day in (period.first, period.last, dice.choice(days(period))))
        assert period.first - DAY not in period
        assert period.last + DAY not in period


def test_a_period_is_written_as_it_can_be_read() -> None:
    """And equal spans are equal, however they were written."""
    dice = random.Random(6)
    for _ in range(MANY):
        first = date(2017, 1, 1) + dice.randint(0, 1000) * DAY
        period = Period(first, first + dice.randint(0, 1000) * DAY)
        assert Period.parse(str(period)) == period
    assert str(Period.parse("2017-05")) == "2017-05-01..2017-05-31"
    assert Period.parse("2017") == Period.parse("2017-01..2017-12") == Period.parse("2017-01-01..2017-12-31")


EXPECTED = "expected a year, a month, a day, or two of them, such as 2017, 2017-05 or 2017-05-01..2017-06-15"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # nothing, or half of two
        ("", EXPECTED),
        ("..", EXPECTED),
        ("2017..", EXPECTED),
        ("..2017", EXPECTED),
        ("2016..2017..2018", EXPECTED),
        # other ways to write a day
        ("May 2017", EXPECTED),
        ("14.05.2017", EXPECTED),
        ("2017/05", EXPECTED),
        ("2017-5", EXPECTED),
        ("17-05", EXPECTED),
        ("20170514", EXPECTED),
        ("2017-05-14T00:00", EXPECTED),
        ("2017-W20", EXPECTED),
        ("-2017", EXPECTED),
        ("2017.5", EXPECTED),
        (None, EXPECTED),
        # no such year, month or day; a zero is no way to leave one out
        ("0000", EXPECTED),
        ("2017-13", EXPECTED),
        ("2017-00", EXPECTED),
        ("2017-05-00", EXPECTED),
        ("2017-00-01", EXPECTED),
        ("2017-02-29", EXPECTED),
        ("2017-05..2017-06-31", EXPECTED),
        # an end before the beginning
        ("2017..2016", "the period ends before it begins"),
        ("2017-05-14..2017-05-13", "the period ends before it begins"),
    ],
)
def test_a_text_that_is_no_period_is_refused(text: object, sentence: str) -> None:
    """With what was expected."""
    with pytest.raises(ValueError) as refused:
        Period.parse(text)
    assert str(refused.value).endswith(sentence)


# --- Parameters


class Asked(Parameters):
    """As a report's module has them."""

    period: Period = Period.parse("2017")
    department: str | None = None
    top: int = 10


class Ordered(Parameters):
    """Two that must suit each other."""

    least: int = 1
    most: int = 2

    @model_validator(mode="after")
    def _in_order(self) -> Ordered:
        if self.least > self.most:
            raise ValueError("Least is more than most")
        return self


class Needy(Parameters):
    """One without a default."""

    department: str


def refusal(model: type[Parameters], **given: Any) -> str:
    with pytest.raises(ReportError) as refused:
        checked(model, given)
    return str(refused.value)


def test_parameters_are_read_from_text() -> None:
    """Each has its default where nothing is given; text becomes what its field is."""
    assert checked(Asked, {}) == Asked(period=Period.parse("2017"), department=None, top=10)
    given = {"period": "2017-05", "department": "GROCERY", "top": "3"}
    assert checked(Asked, given) == Asked(period=Period.parse("2017-05"), department="GROCERY", top=3)
    assert checked(Asked, {"period": Period.parse("2016")}).period == Period.parse("2016")
    assert checked(Parameters, {}) == Parameters()


def test_parameters_cannot_be_changed() -> None:
    """The artefact states them as they were checked."""
    with pytest.raises(ValidationError, match="frozen"):
        checked(Asked, {}).top = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "given", "sentence"),
    [
        # one that the report does not have, and one of a report that has none
        (Asked, {"month": "5"}, "month: the report has no such parameter; it takes: period, department, top."),
        (Parameters, {"period": "2017"}, "period: the report has no such parameter; it takes: none."),
        # a value that is none
        (Asked, {"top": "x"}, "top: input should be a valid integer, unable to parse string as an integer, got 'x'."),
        (Asked, {"period": "May"}, f"period: {EXPECTED}, got 'May'."),
        (Asked, {"period": "2017-13"}, f"period: month must be in 1..12; {EXPECTED}, got '2017-13'."),
        (Asked, {"period": "2017..2016"}, "period: the period ends before it begins, got '2017..2016'."),
        (Asked, {"department": 3}, "department: input should be a valid string, got 3."),
        # values that do not suit each other, with the report's own words
        (Ordered, {"least": "3"}, "Least is more than most."),
        # one that is missing
        (Needy, {}, "department: field required."),
        # several at once
        (Asked, {"department": 3, "zzz": 1}, "department: input should be a valid string, got 3. zzz: the report has no such parameter; it takes: period, department, top."),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_a_sentence(model: type[Parameters], given: dict[str, Any], sentence: str) -> None:
    """Its name, what was expected, what it was."""
    said = refusal(model, **given)
    # Newer Pythons quote the month as well.
    assert said.replace("1..12, not 13", "1..12") == sentence


def test_a_number_that_is_none_is_refused() -> None:
    """JSON has no infinity, and an artefact could not be compared with it."""

    class Shares(Parameters):
        share: float = 0.5

    assert refusal(Shares, share="nan").startswith("share: input should be a finite number")
    assert refusal(Shares, share="inf").startswith("share: input should be a finite number")


def test_parameters_as_text_can_be_asked_for_again() -> None:
    """Without those that were left out, with those that have a default."""
    chosen = checked(Asked, {"period": "2017-05"})
    assert as_text(chosen) == {"period": "2017-05-01..2017-05-31", "top": "10"}
    assert checked(Asked, as_text(chosen)) == chosen
    assert as_text(Parameters()) == {}
