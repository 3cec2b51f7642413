"""Artefacts as reports make them, and as nobody should: what tests of pages, CSV files and screenshots are made from."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from switchyard.reports.artefact import Artefact, Chart, Series
from switchyard.reports.naming import Facts

#: Redemptions of campaigns 1 to 27.
REDEMPTIONS = [653, 0, 12, 81, 0, 0, 3, 622, 24, 7, 4, 15, 690, 88, 19, 66, 44, 1020, 1, 5, 9, 85, 34, 11, 57, 2, 17]
DEPARTMENTS = {"GROCERY": 44_000, "DRUG GM": 12_500, "PRODUCE": 7_900, "MEAT": 7_100, "UNKNOWN": 190}


def facts(report: str = "coupons", **parameters: str) -> Facts:
    """A run of a report on a fixed day."""
    moment = datetime(2026, 11, 23, 9, 30, 5, tzinfo=UTC)
    return Facts(
        report, parameters or {"period": "2017-01-01..2017-12-31"}, "3f0c6c1e-7d2b-4d38-9b35-f00d5eed0001", moment
    )


def bars() -> Artefact:
    """27 campaigns by redemptions, a third of them nearly without any."""
    ranked = sorted(enumerate(REDEMPTIONS, start=1), key=lambda pair: -pair[1])
    labels = [f"Campaign {number} · Type {'ABC'[number % 3]}" for number, _ in ranked]
    start = date(2017, 1, 1)
    return Artefact(
        title="Coupon redemptions by campaign",
        message="Four of 27 campaigns brought 84 % of all redemptions; three brought none.",
        headline=[
            ("Redemptions", sum(REDEMPTIONS)),
            ("Campaigns", 27),
            ("Without any", 3),
            ("Discount", Decimal("4181.50")),
        ],
        chart=Chart("bars", labels, [Series("redemptions", [value for _, value in ranked])], "Redemptions"),
        columns=["campaign", "type", "began", "ended", "redemptions", "households", "discount"],
        rows=[
            [
                f"Campaign {number}",
                f"Type {'ABC'[number % 3]}",
                start + timedelta(days=11 * number),
                start + timedelta(days=11 * number + 46),
                value,
                value // 2 + 1 if value else 0,
                Decimal(value) * Decimal("1.07"),
            ]
            for number, value in ranked
        ],
        source="completejourney: coupon_redemptions, campaigns, campaign_descriptions",
        period="2017-01-01 to 2017-12-31",
        row_counts={"coupon_redemptions": 2102, "campaigns": 6589},
        more={"By type": (["type", "redemptions"], [["Type A", 1402], ["Type B", 411], ["Type C", 289]])},
        notes=["A campaign counts from its first day to its last.", "Campaigns without redemptions are shown as 0."],
    )


def lines() -> Artefact:
    """53 weeks of five departments: one far above, one near nothing."""
    labels = [f"2017-W{week:02d}" for week in range(1, 54)]
    weekly = {
        name: [
            Decimal(round(base * (1 + 0.1 * math.sin(week / 4 + base) + 0.05 * math.sin(week * base)), 2)).quantize(
                Decimal("0.01")
            )
            for week in range(53)
        ]
        for name, base in DEPARTMENTS.items()
    }
    rows = [[label, name, weekly[name][week], 3 * week] for week, label in enumerate(labels) for name in DEPARTMENTS]
    return replace(
        bars(),
        title="Sales by department and week",
        message="Grocery sells more than all other departments together, in every week of 2017.",
        headline=[
            ("Revenue", sum(map(sum, weekly.values()), Decimal(0))),
            ("Baskets", 157_000),
            ("Best week", "2017-W51"),
        ],
        chart=Chart("lines", labels, [Series(name, values) for name, values in weekly.items()], "US $ a week"),
        columns=["week", "department", "revenue", "units"],
        rows=rows,
    )


def intervals() -> Artefact:
    """Two estimates and their intervals."""
    series = Series("units", [3.418, 2.137], low=[3.022, 1.944], high=[3.905, 2.331])
    return replace(
        bars(),
        title="Units sold under promotion",
        message="A product on display sells 1.6 times as much as one that is only in the mailer.",
        headline=[("Display", 3.418), ("Mailer only", 2.137), ("Resamples", 1000)],
        chart=Chart("bars", ["In-store display", "Mailer only"], [series], "Units a product, store and week"),
        columns=["promotion", "units", "low", "high"],
        rows=[["In-store display", 3.418, 3.022, 3.905], ["Mailer only", 2.137, 1.944, 2.331]],
        more={},
    )


def hostile(text: str) -> Artefact:
    """Every text that a report can give is this one."""
    return Artefact(
        title=text,
        message=text,
        headline=[(text, text)],
        chart=Chart("bars", [text], [Series(text, [1]), Series(text, [-2])], text),
        columns=[text, text],
        rows=[[text, text]],
        source=text,
        period=text,
        row_counts={text: 1},
        more={text: ([text], [[text]])},
        notes=[text],
    )
