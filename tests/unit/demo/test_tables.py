"""The data set's tables as queries see them, within a slot's share."""

from decimal import Decimal

import pytest
from tests.unit.demo.reports_in_process import ask, needs_data_set

from demo import data_set
from demo.errors import SeedError
from demo.tables import tables
from switchyard import routing
from switchyard.errors import ReportError
from switchyard.settings import settings

pytestmark = needs_data_set


@pytest.fixture
def slot_of(config_dir, monkeypatch):
    """Make this process a worker of a queue with these keys."""

    def become(keys):
        (config_dir / "queues.toml").write_text(
            f'[queues.default]\ntasks = ["*"]\n[queues.small]\ntasks = ["t"]\n{keys}'
        )
        monkeypatch.setenv("QUEUE", "small")
        monkeypatch.setattr(routing, "_read", None)
        settings.cache_clear()

    return become


def test_sales_are_exact_cents():
    """Not one row of the file is more than a rounding error of a double away from the cents that are added up."""
    with tables("transactions") as connection:
        [(total,)] = connection.execute("SELECT sum(sales_value) FROM transactions").fetchall()
    [(cents, off)] = ask(
        "SELECT sum(round(100 * sales_value)::BIGINT), max(abs(100 * sales_value - round(100 * sales_value))) FROM transactions"
    )
    assert total == Decimal(int(cents)) / 100
    assert off < 1e-9


def test_days_are_the_stores_own():
    """A moment of UTC that is still the day before in New York, in winter and in summer, and the first one that is not."""
    with tables() as connection:
        days = connection.execute(
            "SELECT store_day(moment)::VARCHAR FROM (VALUES (TIMESTAMP '2017-01-02 04:59:59'), ('2017-01-02 05:00:00'),"
            " ('2017-07-03 03:59:59'), ('2017-07-03 04:00:00')) AS moments(moment)"
        ).fetchall()
    assert [day for (day,) in days] == ["2017-01-01", "2017-01-02", "2017-07-02", "2017-07-03"]


def test_a_span_of_days_has_the_moments_whose_day_is_in_it():
    """The quick way to find rows and the slow one agree on every row, over the change to summer time too."""
    with tables("transactions") as connection:
        [(wrong, found)] = connection.execute(
            "SELECT count(*) FILTER (in_days(transaction_timestamp, '2017-03-05', '2017-03-12') <> "
            "(store_day(transaction_timestamp) BETWEEN DATE '2017-03-05' AND DATE '2017-03-12')), "
            "count(*) FILTER (in_days(transaction_timestamp, '2017-03-05', '2017-03-12')) FROM transactions"
        ).fetchall()
    assert wrong == 0
    assert found > 0


def test_the_engine_takes_half_of_its_slots_memory_and_no_more_processors_than_its_share(slot_of):
    """Two slots of a queue of 512 MB and three processors."""
    slot_of('concurrency = 2\nmemory = "512M"\ncpus = 3')
    with tables() as connection:
        [found] = connection.execute(
            "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
        ).fetchall()
    assert found == ("128.0 MiB", 1, "")


def test_a_query_that_needs_more_than_the_slot_has_says_what_to_change(slot_of):
    """Not the engine's own advice, which is about settings that nobody has here."""
    slot_of('concurrency = 2\nmemory = "32M"')
    with pytest.raises(ReportError, match="8 MB .*`memory`"), tables("transactions") as connection:
        connection.execute("SELECT basket_id, product_id, sum(quantity) FROM transactions GROUP BY ALL").fetchall()


def test_a_data_set_that_is_not_installed_is_a_sentence(monkeypatch):
    """As for the seed."""
    monkeypatch.setattr(data_set, "_MODULE", "no_such_data_package")
    with pytest.raises(SeedError, match="requirements/data.txt"), tables("transactions"):
        pass
