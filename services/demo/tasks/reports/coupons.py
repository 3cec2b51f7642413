"""Redemptions per campaign, campaigns without any shown as 0. The short one: three partitions of a few milliseconds."""

from datetime import date
from typing import Any

from demo.data_set import source
from demo.store_weeks import overlap
from demo.tables import tables
from switchyard import reports
from switchyard.reports import Artefact, Chart, Period, Series

#: Campaigns that the message names.
TOP = 3

_CAMPAIGNS = """
SELECT campaign_id, start_date::DATE::VARCHAR, end_date::DATE::VARCHAR, coalesce(any_value(received), 0),
       count(redemption_date), count(DISTINCT coupon_redemptions.household_id)
FROM campaign_descriptions
LEFT JOIN (SELECT campaign_id, count(*) AS received FROM campaigns GROUP BY campaign_id) USING (campaign_id)
LEFT JOIN coupon_redemptions ON coupon_redemptions.campaign_id = campaign_descriptions.campaign_id
    AND redemption_date BETWEEN $first AND $last
WHERE campaign_type = $campaign_type
GROUP BY ALL
"""


class Parameters(reports.Parameters):
    """Redemptions in which days."""

    period: Period = Period.parse("2017")


def partitions(parameters: Parameters) -> list[dict[str, str]]:
    """The campaigns of one type are a partition. Raises ReportError for a period that the data set does not have."""
    with tables("campaign_descriptions", "coupon_redemptions") as connection:
        [days] = connection.execute(
            "SELECT min(redemption_date)::DATE, max(redemption_date)::DATE FROM coupon_redemptions"
        ).fetchall()
        covered = overlap(parameters.period, *days)
        types = connection.execute("SELECT DISTINCT campaign_type FROM campaign_descriptions ORDER BY 1").fetchall()
    return [
        {"campaign_type": name, "first": covered.first.isoformat(), "last": covered.last.isoformat()}
        for (name,) in types
    ]


def aggregate(partition: dict[str, str]) -> dict[str, Any]:
    """Each campaign of the partition with its redemptions."""
    with tables("campaign_descriptions", "campaigns", "coupon_redemptions") as connection:
        return {**partition, "campaigns": connection.execute(_CAMPAIGNS, partition).fetchall()}


def report(partials: list[dict[str, Any]], parameters: Parameters) -> Artefact:
    """All campaigns, the busiest first."""
    del parameters  # what they come to is in the partials
    rows = [
        [campaign, partial["campaign_type"], date.fromisoformat(first), date.fromisoformat(last), *counts]
        for partial in partials
        for campaign, first, last, *counts in partial["campaigns"]
    ]
    rows.sort(key=lambda row: (-row[5], row[0]))
    redemptions = [row[5] for row in rows]
    without = redemptions.count(0)
    return Artefact(
        title="Coupon redemptions by campaign",
        message=_message(rows),
        headline=[
            ("Redemptions", sum(redemptions)),
            ("Campaigns", len(rows)),
            ("Campaigns without any", without),
            (f"Share of the busiest {TOP}", f"{_top_share(rows):.1f} %" if any(redemptions) else None),
        ],
        chart=Chart(
            "bars",
            [f"Campaign {row[0]} · {row[1]}" for row in rows],
            [Series("Redemptions", redemptions)],
            "redemptions",
        ),
        columns=["campaign", "type", "first day", "last day", "households", "redemptions", "households that redeemed"],
        rows=rows,
        source=source("campaign_descriptions", "campaigns", "coupon_redemptions"),
        period=f"{partials[0]['first']} to {partials[0]['last']}",
        row_counts={
            "campaign_descriptions": len(rows),
            "campaigns": sum(row[4] for row in rows),
            "coupon_redemptions": sum(redemptions),
        },
        notes=[
            "Rows counted: every campaign, every household that a campaign was sent to, every redemption in the period.",
            "A campaign belongs to the table whether or not it ran in the period; one without a redemption shows 0.",
        ],
    )


def _message(rows: list[list[Any]]) -> str:
    total = sum(row[5] for row in rows)
    if not total:
        return f"No coupon of the {len(rows)} campaigns was redeemed in the period."
    *others, last = (str(row[0]) for row in rows[:TOP] if row[5])
    named = f"Campaigns {', '.join(others)} and {last}" if others else f"Campaign {last}"
    without = sum(not row[5] for row in rows)
    return (
        f"{named} brought {_top_share(rows):.0f} % of {total:,} redemptions; "
        f"{without} of the {len(rows)} campaigns brought none."
    )


def _top_share(rows: list[list[Any]]) -> float:
    redemptions: list[int] = [row[5] for row in rows]
    return 100 * sum(redemptions[:TOP]) / sum(redemptions)
