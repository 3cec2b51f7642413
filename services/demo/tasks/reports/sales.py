"""Revenue, units and baskets per department and week, and the top products; what was sold without a product row is UNKNOWN.

A week is a partition: no basket runs over two, so the baskets of weeks may be added up, as those of departments may not.
The products that sold best in all weeks cannot be told from those of each, so they are a partition of their own.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from duckdb import DuckDBPyConnection

from demo.data_set import source
from demo.departments import UNKNOWN, Department, check_department
from demo.store_weeks import weeks
from demo.tables import tables
from switchyard import reports
from switchyard.reports import Artefact, Cell, Chart, Period, Series

#: Products in the table of those that sold best.
TOP_PRODUCTS = 20
#: Departments with a line of their own; the others share one.
TOP_DEPARTMENTS = 3
#: Fewer weeks make no line.
FEWEST_WEEKS = 3

_SOLD = f"""
CREATE VIEW sold AS
SELECT transactions.*, coalesce(department, '{UNKNOWN}') AS department, product_category, product_type
FROM transactions LEFT JOIN products USING (product_id)
"""  # noqa: S608 - a name of our own
_WANTED = "in_days(transaction_timestamp, $first, $last) AND ($department IS NULL OR department = $department)"
# The last row, whose department is NULL, is the whole: its baskets are not the sum of the others'.
_WEEK = f"""
SELECT department, coalesce(sum(sales_value), 0), coalesce(sum(quantity), 0)::BIGINT, count(DISTINCT basket_id), count(*)
FROM sold WHERE {_WANTED}
GROUP BY GROUPING SETS ((department), ()) ORDER BY department NULLS LAST
"""  # noqa: S608 - as above
_TOP = f"""
SELECT product_id, any_value(department), any_value(product_category), any_value(product_type),
       sum(sales_value) AS revenue, sum(quantity)::BIGINT
FROM sold WHERE {_WANTED}
GROUP BY product_id ORDER BY revenue DESC, product_id LIMIT $top
"""  # noqa: S608 - as above


class Parameters(reports.Parameters):
    """Sales in which days, and of which department; None is all of them."""

    period: Period = Period.parse("2017")
    department: Department | None = None


def partitions(parameters: Parameters) -> list[dict[str, Any]]:
    """The top products, then each week. Raises ReportError for a department or a period that the data set does not have."""
    with tables("transactions", "products") as connection:
        check_department(connection, parameters.department)
        found = weeks(connection, parameters.period)
    spans = [("top products", found[0].first, found[-1].last), *(("week", week.first, week.last) for week in found)]
    return [
        {"of": of, "first": first.isoformat(), "last": last.isoformat(), "department": parameters.department}
        for of, first, last in spans
    ]


def aggregate(partition: dict[str, Any]) -> dict[str, Any]:
    """The partition with its sums per department, or with its top products."""
    wanted = {name: partition[name] for name in ("first", "last", "department")}
    with tables("transactions", "products") as connection:
        connection.execute(_SOLD)
        if partition["of"] == "week":
            return {**partition, **_week(connection, wanted)}
        return {**partition, "products": connection.execute(_TOP, {**wanted, "top": TOP_PRODUCTS}).fetchall()}


def _week(connection: DuckDBPyConnection, wanted: dict[str, Any]) -> dict[str, Any]:
    *departments, (_, revenue, units, baskets, rows) = connection.execute(_WEEK, wanted).fetchall()
    return {"revenue": revenue, "units": units, "baskets": baskets, "rows": rows, "departments": departments}


def report(partials: list[dict[str, Any]], parameters: Parameters) -> Artefact:
    """Every department in every week, and what they come to."""
    [top] = [partial for partial in partials if partial["of"] == "top products"]
    found = [partial for partial in partials if partial["of"] == "week"]
    departments = _departments(found)
    revenue = sum((week["revenue"] for week in found), Decimal(0))
    baskets = sum(week["baskets"] for week in found)
    rows = sum(week["rows"] for week in found)
    return Artefact(
        title=f"Sales of {parameters.department}" if parameters.department else "Sales by department and week",
        message=_message(found, departments, revenue),
        headline=[
            ("Revenue, US $", revenue),
            ("Units", sum(week["units"] for week in found)),
            ("Baskets", baskets),
            ("Revenue a basket, US $", round(revenue / baskets, 2) if baskets else None),
        ],
        chart=_chart(found, departments),
        columns=["first day", "last day", "department", "revenue", "units", "baskets"],
        rows=[
            [date.fromisoformat(week["first"]), date.fromisoformat(week["last"]), *department[:4]]
            for week in found
            for department in week["departments"]
        ],
        source=source("transactions", "products"),
        period=f"{top['first']} to {top['last']}",
        row_counts={"transactions": rows, "transactions without a product row": departments.get(UNKNOWN, [0] * 4)[3]},
        more={
            "Departments": (
                ["department", "revenue", "share of revenue, %", "units", "baskets"],
                [[name, sums[0], _percent(sums[0], revenue), *sums[1:3]] for name, sums in departments.items()],
            ),
            f"The {len(top['products'])} products with most revenue": (
                ["product", "department", "category", "type", "revenue", "units"],
                top["products"],
            ),
        },
        notes=_notes(departments, baskets),
    )


def _departments(found: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Revenue, units, baskets and rows of each department in all weeks, the one with most revenue first."""
    sums: defaultdict[str, list[Any]] = defaultdict(lambda: [Decimal(0), 0, 0, 0])
    for week in found:
        for name, *values in week["departments"]:
            sums[name] = [a + b for a, b in zip(sums[name], values, strict=True)]
    return dict(sorted(sums.items(), key=lambda item: (-item[1][0], item[0])))


def _drawn(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The whole weeks: one that the period cuts short looks like a bad one."""
    days = [(date.fromisoformat(week["last"]) - date.fromisoformat(week["first"])).days for week in found]
    return [week for week, six in zip(found, days, strict=True) if six == 6]


def _message(found: Sequence[dict[str, Any]], departments: dict[str, list[Any]], revenue: Decimal) -> str:
    if not departments:
        return "Nothing was sold in the period."
    name, sums = next(iter(departments.items()))
    part = f"{_percent(sums[0], revenue)} % of a revenue of " if len(departments) > 1 else ""
    message = f"{name} brought {part}US $ {revenue:,}"
    if len(drawn := _drawn(found)) < FEWEST_WEEKS:
        return f"{message}."
    best = max(drawn, key=lambda week: week["revenue"])
    return f"{message}; the best week, that of {best['first']}, US $ {best['revenue']:,}."


def _chart(found: Sequence[dict[str, Any]], departments: dict[str, list[Any]]) -> Chart:
    drawn = _drawn(found)
    if len(drawn) < FEWEST_WEEKS:
        return Chart("bars", list(departments), [Series("Revenue", [sums[0] for sums in departments.values()])], "US $")
    by_name = [{name: revenue for name, revenue, *_ in week["departments"]} for week in drawn]
    whole = [week["revenue"] for week in drawn]
    top = {name: [week.get(name, Decimal(0)) for week in by_name] for name in list(departments)[:TOP_DEPARTMENTS]}
    series = [Series(name, values) for name, values in top.items()]
    if len(departments) > TOP_DEPARTMENTS:
        rest = [all_of_it - sum(values) for all_of_it, *values in zip(whole, *top.values(), strict=True)]
        series = [Series("All departments", whole), *series, Series("All others", rest)]
    return Chart("lines", [week["first"] for week in drawn], series or [Series("Revenue", whole)], "US $ a week")


def _notes(departments: dict[str, list[Any]], baskets: int) -> list[str]:
    notes = [
        "Revenue is the sum of sales_value, in whole cents from the first row on.",
        (
            "Weeks run from Monday to Sunday in the stores' time. The table has the first and the last as the period cuts "
            "them, the lines have whole weeks only."
        ),
        f"{UNKNOWN} is what was sold without a product row.",
    ]
    if len(departments) > 1:
        notes.append(
            "A basket is counted in one week only, and once in each department that it holds something of: weeks may be "
            f"added up, departments come to more than the {baskets:,} baskets there were."
        )
    prices = {name: sums[0] / sums[1] for name, sums in departments.items() if sums[1]}
    if len(prices) > 1:
        low, high = min(prices, key=prices.__getitem__), max(prices, key=prices.__getitem__)
        notes.append(
            f"Compare units within a department only: one of {low} brought US $ {prices[low]:.4f}, "
            f"one of {high} US $ {prices[high]:.2f}."
        )
    return notes


def _percent(part: Decimal, whole: Decimal) -> Cell:
    return round(100 * part / whole, 1) if whole else None
