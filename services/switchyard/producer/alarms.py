"""Schedules and reports in; what the clock does, and when, out: it tells events, and it publishes the core's own chores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from switchyard.errors import EventRefused
from switchyard.events import refused
from switchyard.events.acceptance import accept
from switchyard.events.config import Schedule
from switchyard.events.event import Event
from switchyard.logs import get_logger
from switchyard.producer import app
from switchyard.producer.due import Timing
from switchyard.report import Report

DOOR = "clock"
#: Begins the name of a chore; no schedule's name has a colon.
CHORE = "task:"

log = get_logger(__name__)


@dataclass(frozen=True)
class Alarm:
    """A timing, and what is done at each of its slots. `ring` raises Unavailable, redis' errors or kombu's OperationalError."""

    timing: Timing
    ring: Callable[[datetime], None]


def of_schedules(schedules: Iterable[Schedule], zone: str) -> list[Alarm]:
    """An event for each slot of each schedule; `zone` is for those that name none."""
    return [_of_schedule(schedule, schedule.timezone or zone) for schedule in schedules]


def of_chores(reports: Iterable[Report], zone: str) -> list[Alarm]:
    """Every minute the sweep of stalled workflows; each night, for reports that no longer run, the end of old artefacts."""
    nightly = [_of_chore(report.prune_task, "45 3 * * *", zone) for report in reports]
    return [_of_chore("switchyard.sweep", "* * * * *", zone), *nightly]


def event_at(schedule: Schedule, zone: str, slot: datetime) -> Event:
    """The event of a slot. Its id is the slot, so it is the same event whoever tells it, and how often."""
    moment = slot.astimezone(ZoneInfo(zone)).isoformat()
    told = {"id": moment, "source": f"/clock/{schedule.name}", "type": schedule.event, "time": moment}
    return Event.model_validate({"specversion": "1.0", **told, "data": schedule.data})


def _of_schedule(schedule: Schedule, zone: str) -> Alarm:
    timing = Timing(schedule.name, schedule.schedule, zone, schedule.jitter, schedule.missed)
    return Alarm(timing, lambda slot: _tell(event_at(schedule, zone, slot)))


def _tell(event: Event) -> None:
    try:
        accept([event], door=DOOR)
        return
    except EventRefused as exc:
        reason = str(exc)
    log.error("event_refused", event_id=event.id, event_source=event.source, event_type=event.type, reason=reason,
              door=DOOR)  # fmt: skip
    refused.keep(event.model_dump_json(exclude_none=True).encode(), reason)


def _of_chore(task: str, line: str, zone: str) -> Alarm:
    return Alarm(Timing(f"{CHORE}{task}", line, zone), partial(_publish, task))


def _publish(task: str, _: datetime) -> None:
    # Without `retry` a broker that is away is an error after seconds; with it, publishing may last for ever.
    app.send_task(task, ignore_result=True, retry=False)
