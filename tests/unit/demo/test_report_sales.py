"""The sales report, compared with the files: to the cent, the unit and the basket."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from tests.unit.demo.reports_in_process import artefact, ask, carried, needs_data_set, parameters

from demo.tasks.reports import sales
from switchyard.errors import ReportError

pytestmark = needs_data_set

#: Cents, units, baskets and rows, with no column that the report computes; the zone's days are left to the file's weeks.
SUMS = "sum(round(100 * sales_value)::BIGINT)::BIGINT, sum(quantity)::BIGINT, count(DISTINCT basket_id), count(*)"
SOLD = "FROM transactions LEFT JOIN products USING (product_id)"


@pytest.fixture(scope="module")
def year():
    return artefact(sales)


def headline(made):
    return [value for _, value in made.headline][:3]


def test_the_whole_is_the_files_to_the_cent_the_unit_and_the_basket(year):
    """Every row is in it, also those without a product."""
    [(cents, units, baskets, rows)] = ask(f"SELECT {SUMS} FROM transactions")
    assert headline(year) == [Decimal(cents) / 100, units, baskets]
    assert year.row_counts["transactions"] == rows


def test_departments_and_weeks_add_up_to_the_whole(year):
    """Revenue and units; baskets do not, and the page says so."""
    revenue, units, baskets = headline(year)
    assert sum(row[3] for row in year.rows) == revenue
    assert sum(row[4] for row in year.rows) == units
    assert sum(row[5] for row in year.rows) > baskets
    assert any(f"more than the {baskets:,} baskets" in note for note in year.notes)
    columns, departments = year.more["Departments"]
    assert columns[1] == "revenue"
    assert sum(row[1] for row in departments) == revenue
    assert sum(row[3] for row in departments) == units


def test_each_department_in_each_week_is_the_files(year):
    """By the number that the file gives each week, whose days are found here and there in different ways."""
    expected = {
        (week, department): (Decimal(cents) / 100, units, baskets)
        for week, department, cents, units, baskets, _ in ask(
            f"SELECT week, coalesce(department, 'UNKNOWN'), {SUMS} {SOLD} GROUP BY 1, 2"
        )
    }
    monday = date(2016, 12, 26)
    found = {((last - monday).days // 7 + 1, department): tuple(sums) for _, last, department, *sums in year.rows}
    assert found == expected


def test_each_department_has_the_baskets_that_the_file_has(year):
    """No basket is in two weeks, or they would be counted twice."""
    expected = dict(ask(f"SELECT coalesce(department, 'UNKNOWN'), count(DISTINCT basket_id) {SOLD} GROUP BY 1"))
    assert {row[0]: row[4] for row in year.more["Departments"][1]} == expected


def test_what_has_no_product_row_is_unknown(year):
    """A department like the others."""
    [(cents, units, baskets, rows)] = ask(
        f"SELECT {SUMS} FROM transactions WHERE product_id NOT IN (SELECT product_id FROM products)"
    )
    [unknown] = [row for row in year.more["Departments"][1] if row[0] == "UNKNOWN"]
    assert [unknown[1], *unknown[3:]] == [Decimal(cents) / 100, units, baskets]
    assert year.row_counts["transactions without a product row"] == rows > 0


def test_the_top_products_are_those_with_most_revenue(year):
    """In all weeks together."""
    expected = ask(
        f"SELECT product_id, {SUMS} FROM transactions GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {sales.TOP_PRODUCTS}"
    )
    [(_, products)] = [table for title, table in year.more.items() if "products" in title]
    assert [(row[0], 100 * row[4], row[5]) for row in products] == [row[:3] for row in expected]


def test_the_lines_are_whole_weeks_and_the_parts_make_the_first_line(year):
    """All departments is the sum of the other lines, and the sum of the table's week."""
    assert [date.fromisoformat(label).weekday() for label in year.chart.labels] == [0] * 52
    whole, *parts = (series.values for series in year.chart.series)
    assert [sum(values) for values in zip(*parts, strict=True)] == list(whole)
    assert whole[0] == sum(row[3] for row in year.rows if row[0] == date(2017, 1, 2))


def test_the_message_has_the_first_department_and_the_best_week(year):
    """Both as the chart shows them."""
    best = year.chart.labels[max(range(52), key=year.chart.series[0].values.__getitem__)]
    assert year.message.startswith(year.chart.series[1].name)
    assert f"that of {best}" in year.message


def test_a_department_alone_is_its_part_of_the_whole(year):
    """The same rows, with baskets that hold something of it."""
    alone = artefact(sales, period="2017-05-01..2017-05-28", department="meat")
    days = (date(2017, 5, 1), date(2017, 5, 28))
    assert alone.rows == [row for row in year.rows if row[2] == "MEAT" and days[0] <= row[0] and row[1] <= days[1]]
    assert headline(alone) == [sum(row[column] for row in alone.rows) for column in (3, 4, 5)]
    assert [series.name for series in alone.chart.series] == ["MEAT"]


def test_products_that_are_not_there_can_be_asked_for_alone():
    """UNKNOWN is a department like the others."""
    alone = artefact(sales, period="2017-05", department="UNKNOWN")
    assert {row[2] for row in alone.rows} == {"UNKNOWN"}
    assert alone.row_counts["transactions"] == alone.row_counts["transactions without a product row"] > 0


def test_periods_that_follow_one_another_make_the_longer_one():
    """A day belongs to one of them, wherever a week is cut."""
    parts = [
        headline(artefact(sales, period=period)) for period in ("2017-11-02..2017-11-05", "2017-11-06..2017-11-08")
    ]
    assert headline(artefact(sales, period="2017-11-02..2017-11-08")) == [
        sum(pair) for pair in zip(*parts, strict=True)
    ]


def test_too_few_weeks_for_a_line_are_bars():
    """A department each, as the table of departments has them."""
    made = artefact(sales, period="2017-05-01..2017-05-14")
    assert made.chart.kind == "bars"
    assert list(made.chart.series[0].values) == [row[1] for row in made.more["Departments"][1]]
    assert "week" not in made.message


def test_a_department_that_sold_nothing_is_an_artefact_that_says_so():
    """It has products, so it may be asked for."""
    made = artefact(sales, period="2017-05", department="HOUSEWARES")
    assert (made.message, made.rows, headline(made)) == ("Nothing was sold in the period.", [], [Decimal(0), 0, 0])


def test_two_runs_make_the_same():
    """To the last cell."""
    assert artefact(sales, period="2017-05") == artefact(sales, period="2017-05")


def test_a_partition_is_a_week_and_one_more_is_the_top_products():
    """They follow one another without a gap, so every day is in one."""
    top, *found = sales.partitions(parameters(sales))
    days = [(date.fromisoformat(week["first"]), date.fromisoformat(week["last"])) for week in found]
    assert carried(found) == found
    assert len(found) == 53
    assert (top["first"], top["last"]) == (found[0]["first"], found[-1]["last"]) == ("2017-01-01", "2017-12-31")
    assert all(last + timedelta(1) == first for (_, last), (first, _) in pairwise(days))


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"period": "2018"}, "from 2017-01-01 to 2017-12-31"),
        ({"period": "last year"}, "period: expected a year, a month, a day"),
        ({"department": "PRODUSE"}, "'PRODUSE'. Did you mean 'PRODUCE'"),
        ({"region": "north"}, "region: the report has no such parameter"),
    ],
)
def test_what_cannot_be_answered_is_refused_before_anything_is_aggregated(given, answer):
    """By a sentence that says what can."""
    with pytest.raises(ReportError, match=answer):
        sales.partitions(parameters(sales, **given))
