"""Units sold per promoted product-store-week: in-store display against mailer only, with a bootstrap interval. The long one.

Stores are what is aggregated side by side and what the bootstrap draws, so a partial has each store's counts for itself.
"""

from collections.abc import Sequence
from typing import Any

from demo.bootstrap import FEWEST_CLUSTERS, RESAMPLES, SEED, Estimate
from demo.data_set import source
from demo.departments import Department, check_department
from demo.promotion_rates import BOTH, DISPLAY, MAILER, ON_DISPLAY, PER, Rates
from demo.store_weeks import whole_weeks
from demo.tables import tables
from switchyard import reports
from switchyard.errors import ReportError
from switchyard.reports import Artefact, Chart, Period, Series

#: Promotion rows in a partition. Each reads the store numbers of the whole file, so that small ones mostly do that; large
#: ones need more memory, and show progress less often.
ROWS = 500_000
#: Fewer partitions than this leave slots idle.
FEWEST = 4

_WANTED = """
SEMI JOIN (SELECT product_id FROM products WHERE $department IS NULL OR department = $department) USING (product_id)
WHERE week BETWEEN $first_week AND $last_week
"""
_STORES = f"SELECT store_id, count(*) FROM promotions {_WANTED} GROUP BY store_id ORDER BY store_id"  # noqa: S608 - our own text
# Some product-store-weeks have two rows, one of which is on display: they are one before anything is joined to them.
_COUNTS = f"""
WITH promoted AS (
    SELECT store_id, week, product_id, count(*) AS read,
           bool_or(display_location <> '0') AS displayed, bool_or(mailer_location <> '0') AS mailed
    FROM promotions {_WANTED} AND store_id IN (SELECT unnest($stores)) GROUP BY ALL
), sold AS (
    SELECT store_id, week, product_id, count(*) AS read, sum(quantity) AS units
    FROM transactions {_WANTED} AND store_id IN (SELECT unnest($stores)) GROUP BY ALL
)
SELECT store_id, department,
       CASE WHEN displayed AND mailed THEN '{BOTH}' WHEN displayed THEN '{DISPLAY}' ELSE '{MAILER}' END AS way,
       count(*), coalesce(sum(units), 0)::BIGINT, sum(promoted.read)::BIGINT, coalesce(sum(sold.read), 0)::BIGINT
FROM promoted LEFT JOIN sold USING (store_id, week, product_id) JOIN products USING (product_id)
WHERE displayed OR mailed GROUP BY ALL ORDER BY ALL
"""  # noqa: S608 - as above


class Parameters(reports.Parameters):
    """Promotions in which whole weeks, and of which department; None is all of them."""

    period: Period = Period.parse("2017")
    department: Department | None = None


def partitions(parameters: Parameters) -> list[dict[str, Any]]:
    """A few stores are a partition. Raises ReportError for what the data set does not have, or never promoted."""
    with tables("transactions", "promotions", "products") as connection:
        check_department(connection, parameters.department)
        weeks = whole_weeks(connection, parameters.period)
        wanted = {
            "department": parameters.department,
            "first_week": weeks[0].number,
            "last_week": weeks[-1].number,
        }
        stores = connection.execute(_STORES, wanted).fetchall()
    if not stores:
        raise ReportError(
            f"department: no product of {parameters.department} was promoted in the period. Ask for another, or for more days."
        )
    days = {"first": weeks[0].first.isoformat(), "last": weeks[-1].last.isoformat()}
    return [{**wanted, **days, "stores": some} for some in _parts(stores)]


def _parts(stores: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The stores in parts of about the same number of rows, given each store's number and rows."""
    enough = min(ROWS, sum(rows for _, rows in stores) / FEWEST)
    parts: list[list[int]] = []
    filled = enough
    for store, rows in stores:
        if filled >= enough:
            parts.append([])
            filled = 0
        parts[-1].append(store)
        filled += rows
    return parts


def aggregate(partition: dict[str, Any]) -> dict[str, Any]:
    """How much each store of the partition promoted and sold, by department and way of promotion."""
    wanted = {name: partition[name] for name in ("department", "first_week", "last_week", "stores")}
    with tables("transactions", "promotions", "products") as connection:
        rows = connection.execute(_COUNTS, wanted).fetchall()
    return {
        **partition,
        "promotions": sum(row[5] for row in rows),
        "transactions": sum(row[6] for row in rows),
        "counts": [row[:5] for row in rows],
    }


def report(partials: list[dict[str, Any]], parameters: Parameters) -> Artefact:
    """Units per promoted product-store-week by department and way, each with its interval."""
    stores = [store for partial in partials for store in partial["stores"]]
    counts = [count for partial in partials for count in partial["counts"]]
    rates = Rates(stores, counts, parameters.department or "all departments")
    of_whole = rates.of_whole()
    difference, times = rates.compared(ON_DISPLAY, MAILER)
    return Artefact(
        title=f"In-store display against mailer only, {rates.whole}",
        message=_message(of_whole, difference),
        headline=[
            (f"On display, units per {PER:,}", _rounded(of_whole.get(ON_DISPLAY, Estimate(None)).value)),
            (f"Mailer only, units per {PER:,}", _rounded(of_whole.get(MAILER, Estimate(None)).value)),
            ("Display against mailer only", None if times.value is None else f"{times.value:.2f} times"),
            ("95 % interval of that", None if times.low is None else f"{times.low:.2f} to {times.high:.2f}"),
            ("Stores", len(stores)),
        ],
        chart=_chart(of_whole),
        columns=["department", "promoted by", "product-store-weeks", "units", f"units per {PER:,}", "from", "to"],
        rows=[
            [*key, *map(sum, rates.counts[key]), *map(_rounded, (estimate.value, estimate.low, estimate.high))]
            for key, estimate in rates.estimates.items()
        ],
        source=source("promotions", "transactions", "products"),
        period=f"{partials[0]['first']} to {partials[0]['last']}",
        row_counts={name: sum(partial[name] for partial in partials) for name in ("promotions", "transactions")},
        notes=_notes(partials, len(stores), sum(count[3] for count in counts)),
    )


def _message(of_whole: dict[str, Estimate], difference: Estimate) -> str:
    if difference.value is None:
        missing = "in the mailer only" if ON_DISPLAY in of_whole else "on display"
        return f"No product was {missing} in the period, so there is nothing to compare."
    chance = difference.low is not None and difference.high is not None and difference.low <= 0 <= difference.high
    alone = f"; on display without a mailer, {of_whole[DISPLAY].value:.2f}" if DISPLAY in of_whole else ""
    return (
        f"In {PER:,} weeks in a store a product on display sold {of_whole[ON_DISPLAY].value:.2f} units, one in the mailer "
        f"only {of_whole[MAILER].value:.2f}, a difference of {difference.value:+.2f}{_interval(difference, '+')}"
        f"{', which may be chance' if chance else ''}{alone}."
    )


def _interval(estimate: Estimate, sign: str = "") -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" (95 % interval {estimate.low:{sign}.2f} to {estimate.high:{sign}.2f})"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _chart(of_whole: dict[str, Estimate]) -> Chart:
    """A bar for each way that has an interval: a bar without one would look more certain than the others, not less."""
    bars = [(way, e.value, e.low, e.high) for way, e in of_whole.items() if e.low is not None and e.high is not None]
    ways, values, low, high = zip(*bars, strict=True) if bars else ((), (), None, None)
    if not bars:  # too few stores for any
        ways, values = tuple(of_whole), tuple(estimate.value for estimate in of_whole.values())
    return Chart("bars", ways, [Series("Units", values, low, high)], f"units per {PER:,} promoted product-store-weeks")


def _notes(partials: list[dict[str, Any]], stores: int, promoted: int) -> list[str]:
    weeks = partials[0]["last_week"] - partials[0]["first_week"] + 1
    twice = sum(partial["promotions"] for partial in partials) - promoted
    return [
        (
            "A product-store-week is a product in a store in a week in which it was promoted there: on display if its "
            "display_location is not 0, 'not on display' (A, 'in-shelf', counts as a display), in the mailer if its "
            "mailer_location is not 0, 'not on ad'."
        ),
        (
            f"{twice:,} rows were a second one of their product-store-week, which counts once, and as on display if either "
            "row says so."
        ),
        "Units are those that the households in the data bought; a product-store-week without a sale counts with 0.",
        f"Promotions are known by week, so what counts is the {weeks} weeks, Monday to Sunday, that lie wholly in the period.",
        "Rows counted: the promotions of these weeks, and the transactions of a promoted product in its store and week.",
        (
            f"Intervals run from the 2.5th to the 97.5th percentile of {RESAMPLES:,} resamples of the {stores} stores, each "
            f"drawn as a whole, with the seed {SEED}. There is none, and no bar beside others, where it "
            f"would mean nothing: below {FEWEST_CLUSTERS} stores, or where too little was promoted or sold."
        ),
        (
            "Different products are promoted in different ways, and the comparison includes that: it does not say what a "
            "display would do for a given product."
        ),
    ]
