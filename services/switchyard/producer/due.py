"""A schedule's timing and two moments in; the slots whose time has come between them out. Pure: the clock says what time it is.

A slot is one moment of a cron line. Cron lines mean what Debian's cron makes of them: a daily 02:30 comes once on the day
that has none (when the gap ends) and once on the day that has two (the first); an hourly one comes every hour that passes.
Moments are UTC here: of two times in one zone Python compares the faces, and in autumn a face is shown twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim

#: What is told no later than this is on time; after a longer sleep `missed` decides.
GRACE = timedelta(seconds=60)
#: More than a wall clock is set back in autumn.
_FOLD = timedelta(hours=3)


@dataclass(frozen=True)
class Timing:
    """When something is told: a cron line in a zone, up to `jitter` seconds later; and what becomes of missed slots."""

    name: str
    line: str
    zone: str
    jitter: float = 0
    missed: Literal["catch_up", "skip"] = "catch_up"


@dataclass(frozen=True)
class Due:
    """Slots to be told now, in order; or, where all were slept through and none is told, the newest of those."""

    slots: tuple[datetime, ...] = ()
    skipped: datetime | None = None


def due(timing: Timing, last: datetime, now: datetime, *, tried: datetime | None = None) -> Due:
    """What has come due since the slot `last`. `tried` is a slot that was on time and could not be told yet.

    What was slept through is told only if nothing newer is due, and then once.
    """
    coming = next_slot(timing.line, timing.zone, last)
    if coming is None or told_at(timing, coming) > now:
        return Due()
    # However long the sleep was, only its last minutes are gone through slot by slot.
    start = max(last, _newest_slot(timing, now - GRACE - timedelta(seconds=timing.jitter)) or last)
    passed = list(takewhile(lambda slot: told_at(timing, slot) <= now, _slots_after(timing, start)))
    if on_time := tuple(slot for slot in passed if now - told_at(timing, slot) <= GRACE):
        return Due(on_time)
    newest = passed[-1] if passed else start
    return Due((newest,)) if timing.missed == "catch_up" or newest == tried else Due(skipped=newest)


def told_at(timing: Timing, slot: datetime) -> datetime:
    """When the slot is told: up to `jitter` later, and before the next one. Every clock computes the same moment."""
    if not timing.jitter:
        return slot
    following = next_slot(timing.line, timing.zone, slot)
    room = min(timing.jitter, (following - slot).total_seconds()) if following else timing.jitter
    digest = hashlib.sha256(f"{timing.name} {slot.isoformat()}".encode()).digest()
    return slot + timedelta(seconds=room * int.from_bytes(digest[:6]) / 256**6)


@lru_cache(maxsize=1024)
def next_slot(line: str, zone: str, after: datetime) -> datetime | None:
    """The first slot after a moment; None for a line that names no day of the next fifty years."""
    moments = (slot.astimezone(UTC) for slot in CronSim(line, after.astimezone(ZoneInfo(zone))))
    # Asked within the second of two equal hours, cronsim may begin with a slot of the first.
    return next((moment for moment in moments if moment > after), None)


def _slots_after(timing: Timing, slot: datetime) -> Iterator[datetime]:
    while following := next_slot(timing.line, timing.zone, slot):
        yield (slot := following)


def _newest_slot(timing: Timing, before: datetime) -> datetime | None:
    beyond = (before + _FOLD).astimezone(ZoneInfo(timing.zone))
    moments = (slot.astimezone(UTC) for slot in CronSim(timing.line, beyond, reverse=True))
    return next((moment for moment in moments if moment < before), None)
