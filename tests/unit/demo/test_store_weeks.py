"""Weeks of the data set, found for a period."""

from datetime import date

import pytest
from tests.unit.demo.reports_in_process import needs_data_set

from demo.store_weeks import Week, overlap, weeks, whole_weeks
from demo.tables import tables
from switchyard.errors import ReportError
from switchyard.reports import Period

pytestmark = needs_data_set


def found(text, *, function=weeks):
    with tables("transactions") as connection:
        return function(connection, Period.parse(text))


def test_the_datas_own_weeks_are_those_of_the_stores_calendar():
    """Every transaction lies in the days that are found for its week: the time zone is the right one."""
    with tables("transactions") as connection:
        days = weeks(connection, Period.parse("2017"))
        assert [week.number for week in days] == list(range(1, 54))
        moments = connection.execute(
            "SELECT week, store_day(min(transaction_timestamp)), store_day(max(transaction_timestamp)) "
            "FROM transactions GROUP BY week ORDER BY week"
        ).fetchall()
    assert all(week.first <= first <= last <= week.last for week, (_, first, last) in zip(days, moments, strict=True))


def test_weeks_are_cut_by_the_period():
    """A Wednesday to the next Tuesday is parts of two."""
    assert found("2017-05-03..2017-05-09") == [
        Week(19, date(2017, 5, 3), date(2017, 5, 7)),
        Week(20, date(2017, 5, 8), date(2017, 5, 9)),
    ]


def test_a_period_beyond_the_data_is_cut_to_it():
    """The first week has one day, a Sunday."""
    assert found("2015..2017-01-02") == [
        Week(1, date(2017, 1, 1), date(2017, 1, 1)),
        Week(2, date(2017, 1, 2), date(2017, 1, 2)),
    ]


@pytest.mark.parametrize(
    ("text", "first", "last"), [("2017", 2, 53), ("2017-05", 19, 22), ("2017-05-07..2017-05-14", 20, 20)]
)
def test_whole_weeks_have_all_seven_days_in_the_period(text, first, last):
    """The year's first week began in the year before."""
    assert [week.number for week in found(text, function=whole_weeks)] == list(range(first, last + 1))


@pytest.mark.parametrize(
    ("text", "proposed"),
    [
        ("2017-05-03..2017-05-09", "2017-05-01..2017-05-07"),
        # its own week began before the data does
        ("2017-01-01", "2017-01-02..2017-01-08"),
        ("2017-12-31", "2017-12-25..2017-12-31"),
    ],
)
def test_a_period_without_a_whole_week_is_answered_with_the_nearest(text, proposed):
    """What is proposed is accepted."""
    with pytest.raises(ReportError, match=f"{Period.parse(text)} has no whole week .* such as {proposed}."):
        found(text, function=whole_weeks)
    assert len(found(proposed, function=whole_weeks)) == 1


@pytest.mark.parametrize("text", ["2016", "2018-01-01", "1999..2016-12-31"])
def test_a_period_without_a_day_of_the_data_is_answered_with_the_days_there_are(text):
    """The first day of the next year is none of them, though the file's clock has it."""
    with pytest.raises(ReportError, match="from 2017-01-01 to 2017-12-31, such as 2017-01"):
        found(text)


def test_a_period_that_only_touches_the_data_covers_that_day():
    """Both ends are included."""
    first, last = date(2017, 1, 1), date(2017, 12, 31)
    assert overlap(Period.parse("2016..2017-01-01"), first, last) == Period(first, first)
    assert overlap(Period.parse("2017-12-31..2019"), first, last) == Period(last, last)
