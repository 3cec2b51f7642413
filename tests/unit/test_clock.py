"""When what is due: slots, summer time, jitter, missed slots. Every moment is given; nothing here waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from switchyard.events.config import Schedule
from switchyard.events.event import parse
from switchyard.producer import alarms
from switchyard.producer.due import Due, Timing, due, next_slot, told_at
from switchyard.report import Report

BERLIN = "Europe/Berlin"
#: Summer time begins and ends here in Berlin.
GAP, FOLD = "2026-03-29", "2026-10-25"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def nightly(**more: object) -> Timing:
    return Timing("nightly", "0 2 * * *", "UTC", **more)  # type: ignore[arg-type]


def slots(line: str, zone: str, day: str) -> list[str]:
    """The slots of one day in that zone, as its clocks show them."""
    begin = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=ZoneInfo(zone))
    found, moment = [], (begin - timedelta(seconds=1)).astimezone(UTC)
    while (moment := next_slot(line, zone, moment)).astimezone(ZoneInfo(zone)).date() == begin.date():
        found.append(moment.astimezone(ZoneInfo(zone)).strftime("%H:%M%z"))
    return found


# --- Cron lines and summer time


@pytest.mark.parametrize(
    ("line", "day", "expected"),
    [
        # an ordinary day
        ("30 2 * * *", "2026-11-23", ["02:30+0100"]),
        # 02:30 does not exist: when the gap ends
        ("30 2 * * *", GAP, ["03:00+0200"]),
        # all that the gap swallows comes as one
        ("0,30 2,3 * * *", GAP, ["03:00+0200", "03:30+0200"]),
        # 02:30 exists twice: the first
        ("30 2 * * *", FOLD, ["02:30+0200"]),
        ("0 1-4 * * *", FOLD, ["01:00+0200", "02:00+0200", "03:00+0100", "04:00+0100"]),
        # every half hour that passes, whatever the clocks show
        ("*/30 2 * * *", GAP, []),
        ("*/30 2 * * *", FOLD, ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]),
    ],
)
def test_a_slot_comes_once_on_days_with_a_gap_or_a_fold(line: str, day: str, expected: list[str]) -> None:
    """As Debian's cron has it: fixed hours once a day, a star as often as the time passes."""
    assert slots(line, BERLIN, day) == expected


@pytest.mark.parametrize(("day", "hours"), [("2026-11-23", 24), (GAP, 23), (FOLD, 25)])
def test_an_hourly_line_comes_in_each_hour_that_passes(day: str, hours: int) -> None:
    """23 times in spring, 25 times in autumn."""
    assert len(slots("0 * * * *", BERLIN, day)) == hours


@pytest.mark.parametrize("day", [GAP, FOLD])
@pytest.mark.parametrize("line", ["30 2 * * *", "0 3 * * *", "15 * * * *"])
def test_looking_every_second_of_a_changing_night_tells_each_slot_once(line: str, day: str) -> None:
    """The clock's own way of going on from the last slot, through the gap and through both equal hours."""
    timing = Timing("x", line, BERLIN)
    now, told = at(f"{day}T00:00:00+00:00") - timedelta(hours=2), []
    last = now
    for _ in range(6 * 3600):
        now += timedelta(seconds=1)
        for slot in due(timing, last, now).slots:
            last = slot
            told.append(slot)
    assert len(told) == (6 if "15 *" in line else 1)
    assert all(one < other for one, other in pairwise(told))


def test_a_slot_missed_in_either_of_two_equal_hours_is_the_same_one() -> None:
    """Who wakes in the second hour, when clocks show less than the slot, has missed it all the same."""
    timing = Timing("x", "30 2 * * *", BERLIN)
    yesterday, slot = at("2026-10-24T02:30:00+02:00"), at("2026-10-25T02:30:00+02:00")
    for woken in ("2026-10-25T02:45:00+02:00", "2026-10-25T02:15:00+01:00", "2026-10-25T02:45:00+01:00"):
        assert due(timing, yesterday, at(woken)) == Due((slot,))
        assert due(timing, slot, at(woken)) == Due()


def test_each_schedule_keeps_its_own_zone() -> None:
    """The same line is another moment elsewhere."""
    after = at("2026-11-23T00:00:00+00:00")
    assert next_slot("0 2 * * *", BERLIN, after) == at("2026-11-23T01:00:00+00:00")
    assert next_slot("0 2 * * *", "America/New_York", after) == at("2026-11-23T07:00:00+00:00")


def test_a_line_of_a_day_that_never_comes_is_never_due() -> None:
    """And does not hang."""
    never = Timing("x", "0 0 */31 2 TUE#5", "UTC")
    assert next_slot(never.line, "UTC", at("2026-01-01T00:00:00Z")) is None
    assert due(never, at("2026-01-01T00:00:00Z"), at("2096-01-01T00:00:00Z")) == Due()


# --- On time, late, missed


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-23T01:59:59.999Z", []),
        ("2026-11-23T02:00:00Z", ["2026-11-23T02:00:00Z"]),
        ("2026-11-23T02:01:00Z", ["2026-11-23T02:00:00Z"]),
    ],
)
@pytest.mark.parametrize("missed", ["catch_up", "skip"])
def test_a_slot_is_told_from_its_moment_until_a_minute_later(missed: str, now: str, expected: list[str]) -> None:
    """Whatever becomes of missed ones: this one is not."""
    assert due(nightly(missed=missed), at("2026-11-22T02:00:00Z"), at(now)) == Due(tuple(map(at, expected)))


@pytest.mark.parametrize("now", ["2026-11-23T02:01:01Z", "2026-11-23T23:00:00Z", "2026-11-24T01:59:59Z"])
def test_a_slot_that_was_slept_through_is_caught_up_or_skipped(now: str) -> None:
    """More than a minute late, as its table says."""
    last, slot = at("2026-11-22T02:00:00Z"), at("2026-11-23T02:00:00Z")
    assert due(nightly(), last, at(now)) == Due((slot,))
    assert due(nightly(missed="skip"), last, at(now)) == Due(skipped=slot)
    assert due(nightly(), slot, at(now)) == due(nightly(missed="skip"), slot, at(now)) == Due()


def test_of_many_missed_slots_only_the_newest_is_caught_up() -> None:
    """A year of minutes, in milliseconds."""
    minutely = Timing("x", "* * * * *", "UTC")
    first = at("2025-11-23T00:00:00Z")
    # The newest of all is on time, and makes up for the others.
    assert due(minutely, first, at("2026-11-23T12:00:30Z")) == Due((at("2026-11-23T12:00:00Z"),))
    weekly = Timing("x", "0 0 * * MON", "UTC")
    assert due(weekly, first, at("2026-11-25T12:00:00Z")) == Due((at("2026-11-23T00:00:00Z"),))


def test_slots_that_are_all_on_time_are_all_told() -> None:
    """A look that was held up for a moment loses none."""
    minutely = Timing("x", "* * * * *", "UTC", missed="skip")
    both = (at("2026-11-23T12:00:00Z"), at("2026-11-23T12:01:00Z"))
    assert due(minutely, at("2026-11-23T11:59:00Z"), at("2026-11-23T12:01:00Z")) == Due(both)


def test_a_slot_that_was_tried_in_time_is_tried_until_the_next() -> None:
    """A full queue is no sleep: `skip` does not skip what it found in time."""
    timing, last, slot = nightly(missed="skip"), at("2026-11-22T02:00:00Z"), at("2026-11-23T02:00:00Z")
    assert due(timing, last, at("2026-11-24T01:59:59Z"), tried=slot) == Due((slot,))
    assert due(timing, last, at("2026-11-24T02:00:00Z"), tried=slot) == Due((at("2026-11-24T02:00:00Z"),))


def test_a_wall_clock_that_is_set_back_tells_nothing_again() -> None:
    """What is done with stays so."""
    assert due(nightly(), at("2026-11-23T02:00:00Z"), at("2026-11-23T01:00:00Z")) == Due()


# --- Jitter


def test_jitter_is_the_same_for_every_clock_and_differs_from_slot_to_slot() -> None:
    """It follows from name and slot: a restart or a second clock computes the same moment."""
    days = [at(f"2026-11-{day:02}T02:00:00Z") for day in range(1, 31)]
    offsets = [(told_at(nightly(jitter=60), day) - day).total_seconds() for day in days]
    assert offsets == [(told_at(nightly(jitter=60), day) - day).total_seconds() for day in days]
    assert all(0 <= offset < 60 for offset in offsets)
    assert len(set(offsets)) == 30
    assert max(offsets) - min(offsets) > 30
    assert told_at(nightly(), days[0]) == days[0]
    other = Timing("other", "0 2 * * *", "UTC", jitter=60)
    assert told_at(other, days[0]) != told_at(nightly(jitter=60), days[0])


def test_a_slot_is_due_when_its_jitter_is_over() -> None:
    """Neither before, nor is it late then."""
    timing, last, slot = nightly(jitter=3600, missed="skip"), at("2026-11-22T02:00:00Z"), at("2026-11-23T02:00:00Z")
    moment = told_at(timing, slot)
    assert moment > slot + timedelta(seconds=60)  # else it would show nothing
    assert due(timing, last, moment - timedelta(seconds=1)) == Due()
    assert due(timing, last, moment) == Due((slot,))
    assert due(timing, last, moment + timedelta(seconds=60)) == Due((slot,))
    assert due(timing, last, moment + timedelta(seconds=61)) == Due(skipped=slot)


def test_jitter_longer_than_the_interval_keeps_the_order_of_slots() -> None:
    """Else one would overtake the other, which would then never be told."""
    timing = Timing("x", "* * * * *", "UTC", jitter=3600)
    moments = [told_at(timing, at(f"2026-11-23T12:{minute:02}:00Z")) for minute in range(60)]
    assert all(one < other for one, other in pairwise(moments))


# --- What is told


def schedule(**more: object) -> Schedule:
    return Schedule.model_validate({"name": "nightly_refresh", "event": "a.b", "schedule": "0 2 * * *", **more})


def test_a_slots_event_is_a_cloudevent_named_by_schedule_and_slot() -> None:
    """What any door would take."""
    event = alarms.event_at(schedule(data={"limit": 5}), BERLIN, at("2026-11-23T01:00:00Z"))
    assert parse(event.model_dump_json(exclude_none=True).encode()) == event
    assert (event.source, event.type, event.data) == ("/clock/nightly_refresh", "a.b", {"limit": 5})
    assert event.id == event.time == "2026-11-23T02:00:00+01:00"


def test_both_equal_hours_of_a_fold_have_events_of_their_own() -> None:
    """The offset tells them apart."""
    first, second = (alarms.event_at(schedule(), BERLIN, at(f"2026-10-25T0{hour}:30:00Z")) for hour in (0, 1))
    assert (first.id, second.id) == ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")


def test_a_schedule_is_timed_in_its_own_zone_or_the_given_one() -> None:
    """TIMEZONE is for those that name none."""
    own = schedule(timezone="Asia/Tokyo", jitter=5, missed="skip")
    found = [alarm.timing for alarm in alarms.of_schedules([schedule(), own], BERLIN)]
    assert found == [
        Timing("nightly_refresh", "0 2 * * *", BERLIN, 0, "catch_up"),
        Timing("nightly_refresh", "0 2 * * *", "Asia/Tokyo", 5, "skip"),
    ]


def test_the_chores_are_a_sweep_every_minute_and_each_reports_pruning_at_night() -> None:
    """Under names that no schedule can have."""
    found = [
        alarm.timing
        for alarm in alarms.of_chores([Report(name="sales", module="a"), Report(name="b", module="b")], BERLIN)
    ]
    assert [(timing.name, timing.line, timing.zone) for timing in found] == [
        ("task:switchyard.sweep", "* * * * *", BERLIN),
        ("task:reports.sales.prune", "45 3 * * *", BERLIN),
        ("task:reports.b.prune", "45 3 * * *", BERLIN),
    ]
    with pytest.raises(ValueError, match="name"):
        schedule(name=found[0].name)
