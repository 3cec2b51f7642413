"""The promotions report: counts against plain counting, intervals against the delta method."""

from collections import Counter
from dataclasses import replace
from math import sqrt
from statistics import NormalDist, covariance, variance

import pytest
from tests.unit.demo.reports_in_process import artefact, ask, carried, needs_data_set, parameters, partials

from demo.promotion_rates import BOTH, DISPLAY, MAILER, ON_DISPLAY, PER
from demo.tasks.reports import promotions
from switchyard.errors import ReportError

pytestmark = needs_data_set

#: Weeks 19 to 22 and no other lie wholly in it.
MAY = {"period": "2017-05"}
WEEKS = "week BETWEEN 19 AND 22"


@pytest.fixture(scope="module")
def may():
    return partials(promotions, **MAY)


@pytest.fixture(scope="module")
def made(may):
    return promotions.report(may, parameters(promotions, **MAY))


def counts(found):
    return [count for partial in found for count in partial["counts"]]


def rates(made):
    return {row[1]: row[2:] for row in made.rows if row[0] == "all departments"}


def test_a_stores_counts_are_those_of_plain_counting():
    """Row by row in Python, without a join or a group: store, department and way, product-store-weeks and units."""
    stores = {317, 367, 31742}
    where = f"WHERE store_id IN {tuple(stores)} AND {WEEKS}"
    department = dict(ask("SELECT product_id, department FROM products"))
    ways = {}
    rows = ask(f"SELECT store_id, week, product_id, display_location, mailer_location FROM promotions {where}")
    for *key, display, mailer in rows:
        before = ways.get(tuple(key), (False, False))
        ways[tuple(key)] = (before[0] or display != "0", before[1] or mailer != "0")
    units = Counter()
    for *key, quantity in ask(f"SELECT store_id, week, product_id, quantity FROM transactions {where}"):
        units[tuple(key)] += quantity
    names = {(True, True): BOTH, (True, False): DISPLAY, (False, True): MAILER}
    promoted, sold = Counter(), Counter()
    for key, way in ways.items():
        promoted[key[0], department[key[2]], names[way]] += 1
        sold[key[0], department[key[2]], names[way]] += units[key]

    partition = {**promotions.partitions(parameters(promotions, **MAY))[0], "stores": sorted(stores)}
    found = carried(promotions.aggregate(partition))
    assert {tuple(row[:3]): tuple(row[3:]) for row in found["counts"]} == {
        key: (promoted[key], sold[key]) for key in promoted
    }
    assert found["promotions"] == len(rows) > len(ways)  # so there was a second row among them
    assert sum(sold.values()) > 0


def test_the_stores_add_up_to_the_files(may, made):
    """All stores, by a query of another form: which product-store-weeks there are, and what was sold in each that is one."""
    key = "store_id, week, product_id"
    displayed = f"SELECT DISTINCT {key} FROM promotions WHERE {WEEKS} AND display_location <> '0'"
    mailed = f"SELECT DISTINCT {key} FROM promotions WHERE {WEEKS} EXCEPT ({displayed})"
    for way, keys in ((ON_DISPLAY, displayed), (MAILER, mailed)):
        [(promoted,)] = ask(f"SELECT count(*) FROM ({keys})")
        [(units,)] = ask(f"SELECT sum(quantity)::BIGINT FROM transactions WHERE ({key}) IN ({keys})")
        assert rates(made)[way][:3] == [promoted, units, round(PER * units / promoted, 2)]
    assert [(made.row_counts["promotions"],)] == ask(f"SELECT count(*) FROM promotions WHERE {WEEKS}")
    assert [(made.row_counts["transactions"],)] == ask(
        f"SELECT count(*) FROM transactions WHERE ({key}) IN (SELECT ({key}) FROM promotions WHERE {WEEKS})"
    )
    assert dict(made.headline)["Stores"] == len({count[0] for count in counts(may)})


def test_departments_add_up_to_the_whole(made):
    """Product-store-weeks and units of each way, and the two kinds of display to all of it."""
    for way, (promoted, units, *_) in rates(made).items():
        parts = [row for row in made.rows if row[1] == way and row[0] != "all departments"]
        assert [sum(row[2] for row in parts), sum(row[3] for row in parts)] == [promoted, units]
    whole = rates(made)
    assert [whole[BOTH][place] + whole[DISPLAY][place] for place in (0, 1)] == whole[ON_DISPLAY][:2]


def linearised(may, way):
    """The rate of a way, and how much each store moves it: the delta method for a ratio of sums over clusters."""
    stores = {count[0] for count in counts(may)}
    promoted, units = Counter(dict.fromkeys(stores, 0)), Counter(dict.fromkeys(stores, 0))
    for store, _, found, number, sold in counts(may):
        if (found == MAILER) == (way == MAILER):
            promoted[store] += number
            units[store] += sold
    total = promoted.total()
    rate = units.total() / total
    moves = [PER * (units[store] - rate * promoted[store]) / total for store in sorted(stores)]
    return PER * rate, moves


def interval(value, squared, stores):
    half = NormalDist().inv_cdf(0.975) * sqrt(stores * squared)
    return value - half, value + half


def test_each_interval_is_what_the_delta_method_gives(may, made):
    """No resampling: the ends agree to an eighth of half the interval's width, which resampling and skewness may move."""
    for way in (ON_DISPLAY, MAILER):
        rate, moves = linearised(may, way)
        low, high = interval(rate, variance(moves), len(moves))
        _, _, value, *ends = rates(made)[way]
        assert value == pytest.approx(rate, abs=0.005)
        assert ends == pytest.approx([low, high], abs=(high - low) / 16)


def test_the_difference_knows_that_the_same_stores_sell_much_both_ways(may):
    """Its interval is the delta method's with the covariance, and narrower than it would be without."""
    (display, ours), (mailer, theirs) = linearised(may, ON_DISPLAY), linearised(may, MAILER)
    squared = variance(ours) + variance(theirs) - 2 * covariance(ours, theirs)
    low, high = interval(display - mailer, squared, len(ours))
    stores = [store for partial in may for store in partial["stores"]]
    difference, times = promotions.Rates(stores, counts(may), "all").compared(ON_DISPLAY, MAILER)
    assert difference.value == pytest.approx(display - mailer)
    assert times.value == pytest.approx(display / mailer)
    assert [difference.low, difference.high] == pytest.approx([low, high], abs=(high - low) / 16)
    wide_low, wide_high = interval(0, variance(ours) + variance(theirs), len(ours))
    assert difference.high - difference.low < 0.9 * (wide_high - wide_low)


def test_the_chart_has_the_tables_bars_with_their_intervals(made):
    """And the message has the numbers of the two that are compared."""
    [series] = made.chart.series
    drawn = zip(made.chart.labels, series.values, series.low, series.high, strict=True)
    assert {way: [round(number, 2) for number in numbers] for way, *numbers in drawn} == {
        way: row[2:] for way, row in rates(made).items()
    }
    assert all(f"{rates(made)[way][2]:.2f}" in made.message for way in (ON_DISPLAY, MAILER, DISPLAY))


def test_two_runs_make_the_same(may, made):
    """Also when partitions come back in another order."""
    assert artefact(promotions, **MAY, department="MEAT") == artefact(promotions, **MAY, department="MEAT")
    assert promotions.report(may[::-1], parameters(promotions, **MAY)) == made


def test_the_year_is_cut_into_whole_stores_of_about_as_many_rows():
    """Every store that has promotions, once; no partition is much larger than the others, and the last week is a whole one."""
    cut = promotions.partitions(parameters(promotions))
    rows = dict(ask("SELECT store_id, count(*) FROM promotions WHERE week >= 2 GROUP BY store_id"))
    stores = [store for partition in cut for store in partition["stores"]]
    assert len(stores) == len(set(stores)) == 112
    assert set(stores) == set(rows)
    assert max(sum(rows[store] for store in partition["stores"]) for partition in cut) < 2 * promotions.ROWS
    assert {(partition["first"], partition["last"]) for partition in cut} == {("2017-01-02", "2017-12-31")}


def test_little_to_do_is_shared_all_the_same(may):
    """A department in a month is small, and still uses four slots."""
    assert len(promotions.partitions(parameters(promotions, **MAY, department="SEAFOOD"))) >= promotions.FEWEST
    assert len(may) >= promotions.FEWEST


def partial(*found, stores=12):
    """What one partition would come to, had its stores these ways, each of (promoted, units) in every store."""
    rows = [[store, "MEAT", way, promoted, units] for store in range(stores) for way, promoted, units in found]
    days = {"first": "2017-05-01", "last": "2017-05-28", "first_week": 19, "last_week": 22}
    return {**days, "stores": list(range(stores)), "counts": rows, "promotions": 0, "transactions": 0}


@pytest.mark.parametrize(
    ("way", "message"),
    [(MAILER, "No product was on display in the period"), (DISPLAY, "No product was in the mailer only in the period")],
)
def test_nothing_to_compare_is_said_so(way, message):
    """The rest of the artefact is made as ever."""
    made = promotions.report([partial((way, 10, 1))], parameters(promotions))
    assert made.message.startswith(message)
    assert way in {row[1] for row in made.rows}


def test_a_difference_that_may_be_chance_is_called_so():
    """Its interval has 0 in it."""
    even, odd = partial((DISPLAY, 100, 9), (MAILER, 100, 5)), partial((DISPLAY, 100, 4), (MAILER, 100, 9))
    rows = [row for store in range(12) for row in (even, odd)[store % 2]["counts"] if row[0] == store]
    assert "which may be chance" in promotions.report([{**even, "counts": rows}], parameters(promotions)).message


def test_few_stores_have_numbers_and_no_intervals():
    """In the message, the table and the chart."""
    made = promotions.report([partial((DISPLAY, 100, 9), (MAILER, 100, 5), stores=3)], parameters(promotions))
    assert "90.00" in made.message
    assert "interval" not in made.message
    assert all(row[5:] == [None, None] for row in made.rows)
    assert made.chart.series == [replace(made.chart.series[0], low=None, high=None)]
    assert len(made.chart.labels) == 3


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"period": "2019"}, "from 2017-01-01 to 2017-12-31"),
        ({"period": "2017-05-03..2017-05-05"}, "no whole week"),
        ({"department": "SEEFOOD"}, "Did you mean 'SEAFOOD'"),
        ({"department": "FUEL"}, "no product of FUEL was promoted"),
        ({"department": "UNKNOWN"}, "no product of UNKNOWN was promoted"),
        ({"stores": "3"}, "stores: the report has no such parameter"),
    ],
)
def test_what_cannot_be_answered_is_refused_before_anything_is_aggregated(given, answer):
    """By a sentence that says what can."""
    with pytest.raises(ReportError, match=answer):
        promotions.partitions(parameters(promotions, **given))
