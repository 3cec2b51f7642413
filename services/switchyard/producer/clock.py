"""The clock: a process that looks once a second what is due, does it, and remembers how far it got.

It does first and remembers then. Whoever is killed between the two, or runs a second clock, tells a slot again: the same
event, with the same id, which starts nothing twice.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast
from zoneinfo import ZoneInfo

from kombu.exceptions import OperationalError
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from redis.exceptions import RedisError

from switchyard import health, logs
from switchyard.errors import Unavailable
from switchyard.events.acceptance import event_config
from switchyard.logs import get_logger
from switchyard.producer import alarms
from switchyard.producer.alarms import Alarm
from switchyard.producer.due import Timing, due
from switchyard.routing import current_queues
from switchyard.settings import settings
from switchyard.workflows import record

#: Its name among the deployment's programs.
PROGRAM = "clock"
#: A hash: a timing's name -> what is Remembered of it.
MEMORY = "switchyard:clock"
#: Seconds between two looks, and at most while Redis is away.
INTERVAL, LONGEST_WAIT = 1.0, 5.0

log = get_logger(__name__)


class Remembered(BaseModel):
    """A timing's cron line and zone, and the last slot that is done with. Under another line it means nothing."""

    model_config = ConfigDict(frozen=True)

    line: str
    last: AwareDatetime


class Clock:
    """How far each alarm got, in memory and in Redis: either outlives the loss of the other."""

    def __init__(self, every: Sequence[Alarm]) -> None:
        self._alarms = every
        self._last: dict[str, datetime] = {}
        self._tried: dict[str, datetime] = {}

    def look(self, now: datetime) -> None:
        """Do what is due. Raises redis' errors and kombu's OperationalError; what is not done by then stays due."""
        self._recall(now)
        for alarm in self._alarms:
            self._ring(alarm, now)

    def _recall(self, now: datetime) -> None:
        kept = cast("dict[str, str]", record.client().hgetall(MEMORY))
        for timing in (alarm.timing for alarm in self._alarms):
            last = self._last.get(timing.name) or _parsed(timing, kept.get(timing.name))
            if last and last > now:
                # The wall clock was set back. What is told again on the way starts nothing twice.
                log.warning("clock_set_back", schedule=timing.name, last=last.isoformat())
                last = now
            if last is None or timing.name not in kept:
                self._remember(timing, last or now)
            self._last[timing.name] = last or now
        if gone := kept.keys() - self._last.keys():
            record.client().hdel(MEMORY, *gone)

    def _ring(self, alarm: Alarm, now: datetime) -> None:
        timing = alarm.timing
        found = due(timing, self._last[timing.name], now, tried=self._tried.get(timing.name))
        for slot in found.slots:
            try:
                alarm.ring(slot)
                self._remember(timing, slot)
            except Unavailable as exc:
                if self._tried.get(timing.name) != slot:
                    log.warning("schedule_delayed", schedule=timing.name, slot=slot.isoformat(), reason=str(exc))
                self._tried[timing.name] = slot
                break  # a later one that is told would pass this one by
        if found.skipped:
            log.warning("schedule_skipped", schedule=timing.name, slot=found.skipped.isoformat())
            self._remember(timing, found.skipped)

    def _remember(self, timing: Timing, last: datetime) -> None:
        remembered = Remembered(line=_line(timing), last=last.astimezone(ZoneInfo(timing.zone)))
        record.client().hset(MEMORY, timing.name, remembered.model_dump_json())
        self._last[timing.name] = last


def _line(timing: Timing) -> str:
    return f"{timing.line} {timing.zone}"


def _parsed(timing: Timing, kept: str | None) -> datetime | None:
    """The last slot, unless there is none, or it is another line's."""
    try:
        found = Remembered.model_validate_json(kept or "")
    except ValidationError:
        return None
    return found.last.astimezone(UTC) if found.line == _line(timing) else None


def main() -> None:
    """Be the clock until SIGTERM or SIGINT. Raises ConfigError for schedules that are none."""
    config = settings()
    logs.configure(config.log_format, config.log_level)
    for stop in (signal.SIGTERM, signal.SIGINT):
        # Raised wherever it is: a kill at any point loses nothing, so nothing needs to be finished first.
        signal.signal(stop, lambda *_: sys.exit(0))
    chores = alarms.of_chores(current_queues().reports.values(), config.timezone)
    clock, wait = Clock([*alarms.of_schedules(event_config().schedules, config.timezone), *chores]), INTERVAL
    while True:
        try:
            clock.look(datetime.now(UTC))
            health.note_ready(config.state_dir, PROGRAM)
            wait = INTERVAL
        except (RedisError, OperationalError, OSError) as exc:  # the last of a full disk
            wait = min(wait * 2, LONGEST_WAIT)
            log.warning("redis_awaited", reason=str(exc), wait_s=wait)
        time.sleep(wait)
