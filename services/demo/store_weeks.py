"""A period comes in, the weeks of the data set that it covers go out, in days of the stores' own calendar."""

from dataclasses import dataclass
from datetime import date, timedelta

from duckdb import DuckDBPyConnection

from switchyard.errors import ReportError
from switchyard.reports import Period

_SIX_DAYS = timedelta(days=6)

_SPAN = "SELECT store_day(min(transaction_timestamp)), store_day(max(transaction_timestamp)) FROM transactions"
_WEEKS = "SELECT week, store_day(min(transaction_timestamp)) FROM transactions GROUP BY week ORDER BY week"


@dataclass(frozen=True)
class Week:
    """A week by the data's own number, and those of its days, Monday to Sunday, that count."""

    number: int
    first: date
    last: date

    @property
    def whole(self) -> bool:
        """Whether all seven days count."""
        return self.last - self.first == _SIX_DAYS


def overlap(asked: Period, first: date, last: date) -> Period:
    """The days of `asked` that the data set has, which it has from `first` to `last`. Raises ReportError if there are none."""
    if asked.last < first or asked.first > last:
        raise ReportError(
            f"period: the data set has no day of {asked}. Ask for days from {first} to {last}, such as {first:%Y-%m}."
        )
    return Period(max(asked.first, first), min(asked.last, last))


def weeks(connection: DuckDBPyConnection, asked: Period) -> list[Week]:
    """The weeks with days of `asked`, cut to these days. Raises ReportError if there are none."""
    [(first, last)] = connection.execute(_SPAN).fetchall()
    covered = overlap(asked, first, last)
    found = []
    for number, some_day in connection.execute(_WEEKS).fetchall():
        monday = some_day - timedelta(days=some_day.weekday())
        week = Week(number, max(monday, covered.first), min(monday + _SIX_DAYS, covered.last))
        if week.first <= week.last:
            found.append(week)
    return found


def whole_weeks(connection: DuckDBPyConnection, asked: Period) -> list[Week]:
    """The weeks with all their days in `asked`. Raises ReportError if there are none."""
    some = weeks(connection, asked)
    found = [week for week in some if week.whole]
    if not found:
        whole = (week for week in weeks(connection, Period(date.min, date.max)) if week.whole)
        near = min(whole, key=lambda week: abs(week.first - some[0].first))
        raise ReportError(
            f"period: {asked} has no whole week of the data set, from Monday to Sunday, and promotions are known by week. "
            f"Ask for more days, such as {near.first}..{near.last}."
        )
    return found
