"""The coupons report over the whole data set."""

import pytest
from tests.unit.demo.reports_in_process import artefact, ask, carried, needs_data_set, parameters

from demo.tasks.reports import coupons
from switchyard.errors import ReportError

pytestmark = needs_data_set


def redemptions(made):
    return {row[0]: row[5] for row in made.rows}


@pytest.mark.parametrize(
    ("period", "days"),
    [
        ("2017", "TRUE"),
        ("2017-06", "month(redemption_date) = 6"),
        ("2016..2017-03-05", "redemption_date < DATE '2017-03-06'"),
    ],
)
def test_every_campaign_has_the_redemptions_that_the_file_has(period, days):
    """Counted from the redemptions, with a 0 for each campaign that is not among them."""
    expected = dict.fromkeys((row[0] for row in ask("SELECT campaign_id FROM campaign_descriptions")), 0)
    expected |= dict(ask(f"SELECT campaign_id, count(*) FROM coupon_redemptions WHERE {days} GROUP BY campaign_id"))
    made = artefact(coupons, period=period)
    assert redemptions(made) == expected
    assert 0 in expected.values()
    assert dict(made.headline)["Redemptions"] == made.row_counts["coupon_redemptions"] == sum(expected.values())
    assert dict(made.headline)["Campaigns without any"] == list(expected.values()).count(0)


def test_the_chart_shows_the_table():
    """A bar per campaign, the longest first."""
    made = artefact(coupons)
    assert (
        list(made.chart.series[0].values) == [row[5] for row in made.rows] == sorted(redemptions(made).values())[::-1]
    )
    assert [label.split()[1] for label in made.chart.labels] == [str(row[0]) for row in made.rows]


def test_households_count_once_in_a_campaign():
    """Those that redeemed are some of those that it was sent to, and one may have redeemed several."""
    rows = artefact(coupons).rows
    assert all(redeemed <= min(households, coupons) for *_, households, coupons, redeemed in rows)
    assert any(0 < redeemed < coupons for *_, coupons, redeemed in rows)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        # campaign and redemptions
        (
            {8: 5, 3: 3, 1: 2, 2: 0},
            "Campaigns 8, 3 and 1 brought 100 % of 10 redemptions; 1 of the 4 campaigns brought none.",
        ),
        (
            {8: 6, 3: 2, 1: 1, 2: 1},
            "Campaigns 8, 3 and 1 brought 90 % of 10 redemptions; 0 of the 4 campaigns brought none.",
        ),
        ({8: 1200, 3: 0}, "Campaign 8 brought 100 % of 1,200 redemptions; 1 of the 2 campaigns brought none."),
        ({8: 0, 3: 0}, "No coupon of the 2 campaigns was redeemed in the period."),
    ],
)
def test_the_message_names_the_busiest_campaigns_and_none_that_brought_nothing(numbers, message):
    """Whatever the numbers are."""
    campaigns = [[number, "2017-01-01", "2017-02-01", 9, count, count] for number, count in numbers.items()]
    partial = {"campaign_type": "Type A", "first": "2017-01-01", "last": "2017-12-31", "campaigns": campaigns}
    assert coupons.report(carried([partial]), parameters(coupons)).message == message


def test_two_runs_make_the_same():
    """To the last cell."""
    assert artefact(coupons) == artefact(coupons)


def test_a_period_without_redemptions_is_refused():
    """The sentence has the days that there are."""
    with pytest.raises(ReportError, match="from 2017-01-01 to 2017-12-31"):
        artefact(coupons, period="2018")
