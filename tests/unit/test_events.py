"""config/events.toml in, workflows and schedules out; and every way in which it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery.schedules import crontab

from switchyard import events
from switchyard.errors import ConfigError
from switchyard.report import Report
from switchyard.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, text: str) -> tuple[events.Event, ...]:
    (folder / "events.toml").write_text(text)
    return events.load(folder)


def test_an_event_names_its_workflow_and_may_have_a_schedule(tmp_path: Path) -> None:
    """In the file's order."""
    found = load(tmp_path, '[events."a.b"]\nworkflow = "w"\nschedule = "0 2 * * *"\n[events.c]\nworkflow = "v"\n')
    assert [(e.name, e.workflow, e.schedule) for e in found] == [("a.b", "w", "0 2 * * *"), ("c", "v", None)]


@pytest.mark.parametrize("text", ["", "[events]\n"])
def test_a_file_without_events_has_none(tmp_path: Path, text: str) -> None:
    """As a missing file has."""
    assert events.load(tmp_path) == load(tmp_path, text) == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # no TOML
        ("[events", "events.toml is not valid TOML: "),
        # another table, or a value where tables are expected
        ("[event.a]\nworkflow = 'w'\n", "events.toml: 'event' is no table here. Expected one of: events."),
        ("events = 3\n", "events.toml: events: expected tables of events, got 3."),
        ("[events]\na = 'w'\n", """events.toml: events."a": expected a table of keys, got 'w'."""),
        # no workflow, an empty one, one that is no text
        ("[events.a]\n", 'events.toml: events."a".workflow: field required'),
        ("[events.a]\nworkflow = ''\n", 'events.toml: events."a".workflow: string should have at least 1 character'),
        ("[events.a]\nworkflow = 3\n", 'events.toml: events."a".workflow: input should be a valid string, got 3.'),
        # an unknown key, and the name that stands in the head
        ("[events.a]\nworkflow = 'w'\ncron = '0 2 * * *'\n",
         """events.toml: events."a".cron: extra inputs are not permitted, got '0 2 * * *'. Expected one of: workflow, schedule."""),
        ("[events.a]\nworkflow = 'w'\nname = 'b'\n", 'events.toml: events."a".name: the table has its name in its head.'),
        # a name with dots needs quotes, or it is tables in tables
        ("[events.a.b]\nworkflow = 'w'\n", 'events.toml: events."a".'),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_naming_the_key(tmp_path: Path, text: str, sentence: str) -> None:
    """One sentence, with the event and the key in it."""
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "0 2 * *",  # four fields
        "0 2 * * * *",  # six
        "60 2 * * *",  # no such minute
        "0 24 * * *",  # nor hour
        "0 2 0 * *",  # nor day
        "0 2 * 13 *",  # nor month
        "0 2 * * 8",  # nor weekday
        "a b c d e",  # no numbers
        "@daily",  # other clocks' shorthand
        "",  # nothing
    ],
)
def test_a_bad_cron_line_is_refused(tmp_path: Path, line: str) -> None:
    """Whatever Celery would say to it, and before the clock starts."""
    with pytest.raises(ConfigError, match='events."a".schedule: expected a cron line of five fields, such as "0 2 '):
        load(tmp_path, f'[events.a]\nworkflow = "w"\nschedule = "{line}"\n')


def test_the_clock_tells_what_is_scheduled_and_nothing_else(tmp_path: Path) -> None:
    """Fields are minute, hour, day, month, weekday; the core's own sweep is always among them."""
    found = load(tmp_path, "[events.a]\nworkflow = 'w'\nschedule = '1 2 3 4 5'\n[events.b]\nworkflow = 'v'\n")
    schedule = events.beat_schedule(found)
    assert schedule.pop("switchyard.sweep")["task"] == "switchyard.sweep"
    expected = crontab(minute="1", hour="2", day_of_month="3", month_of_year="4", day_of_week="5")
    assert schedule == {"a": {"task": "w", "schedule": expected}}


def test_the_repositorys_own_events_are_accepted() -> None:
    """What is shipped starts."""
    assert events.beat_schedule(events.load(ROOT / "config"))


# --- Reports


def report(name: str, schedule: str | None = None) -> Report:
    return Report(name=name, module="shop.reports", schedule=schedule)


def test_a_report_is_started_by_an_event_of_its_name() -> None:
    """With or without a schedule, in the order of the reports."""
    found = events.of_reports([report("sales", "5 2 * * 1"), report("coupons")])
    assert [(e.name, e.workflow, e.schedule) for e in found] == [
        ("report.sales.requested", "reports.sales", "5 2 * * 1"),
        ("report.coupons.requested", "reports.coupons", None),
    ]
    assert events.of_reports([]) == ()


def test_the_clock_starts_the_reports_that_have_a_schedule() -> None:
    """Beside the events of the file."""
    found = events.of_reports([report("sales", "5 2 * * 1"), report("coupons")])
    schedule = events.beat_schedule((events.Event(name="a", workflow="w", schedule="0 0 * * *"), *found))
    assert schedule.keys() == {"a", "report.sales.requested", "switchyard.sweep"}
    assert schedule["report.sales.requested"] == {"task": "reports.sales", "schedule": crontab("5", "2", "1", "*", "*")}


def test_old_artefacts_are_removed_once_a_day_of_every_report() -> None:
    """Also of one that nobody runs any more."""
    found = events.pruning([report("sales", "5 2 * * 1"), report("coupons")])
    assert {entry["task"] for entry in found.values()} == {"reports.sales.prune", "reports.coupons.prune"}
    for entry in found.values():
        schedule = entry["schedule"]
        assert (len(schedule.minute), len(schedule.hour), len(schedule.day_of_week)) == (1, 1, 7)
    assert events.pruning([]) == {}


@pytest.mark.parametrize("line", ["0 2 * *", "60 2 * * *", "@daily", ""])
def test_a_reports_bad_schedule_is_refused_where_it_stands(line: str) -> None:
    """Before the clock starts, by the report's key; the good ones are not blamed."""
    with pytest.raises(ConfigError) as refused:
        events.of_reports([report("coupons"), report("tax", "0 2 * * *"), report("sales", line)])
    assert str(refused.value) == (
        f'queues.toml: reports.sales.schedule: expected a cron line of five fields, such as "0 2 * * *", got {line!r}.'
    )


def test_an_event_that_a_report_makes_already_is_refused(tmp_path: Path) -> None:
    """One of them would silently win."""
    (tmp_path / "events.toml").write_text('[events."report.sales.requested"]\nworkflow = "w"\n')
    sales = Report(name="sales", module="m")
    with pytest.raises(
        ConfigError, match='events."report.sales.requested": its report in queues.toml makes this event'
    ):
        events.every(tmp_path, [sales])
    assert [event.name for event in events.every(tmp_path, [Report(name="other", module="m")])] == [
        "report.sales.requested",
        "report.other.requested",
    ]
