"""Checked events in; recorded workflows out, one for each event however often it comes. All doors lead here.

An event is accepted when its workflow's record is written, in one step of a script: what a crash leaves behind is either
nothing, or a record in the outbox, which `producer/starter.py` publishes. The workflow's id follows from the event's source and
id, so a repeated event finds the record that it made.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal

from kombu.utils.json import dumps

from switchyard.errors import EventConflict, EventRefused, EventUnwanted, Unavailable
from switchyard.events import bounds
from switchyard.events.config import EventConfig, load
from switchyard.events.event import MAX_BATCH, Event
from switchyard.events.starting import Start, start_of
from switchyard.logs import get_logger
from switchyard.routing import current_queues
from switchyard.settings import settings
from switchyard.workflows import record

#: What an event adds to its workflow's record. The first tells a repeated event from another one of the same name.
FIELDS = ("fingerprint", "name", "arguments", "event_id", "event_source", "event_type")

#: The script's answers for an event.
ACCEPTED, REPEATED, CONFLICT = 1, 0, -1
STATES: Mapping[int | None, Literal["accepted", "repeated", "ignored"]] = {
    ACCEPTED: "accepted",
    REPEATED: "repeated",
    None: "ignored",
}

#: What is logged of each.
_SAID = {state: f"event_{state}" for state in STATES.values()}

_canonical = json.JSONEncoder(sort_keys=True).encode
log = get_logger(__name__)


@dataclass(frozen=True)
class Accepted:
    """What became of an event. `workflow_id` is empty for one that is ignored."""

    event: Event
    workflow_id: str
    state: Literal["accepted", "repeated", "ignored"]


@cache
def event_config() -> EventConfig:
    """The events as events.toml and queues.toml had them when this process started. Raises ConfigError."""
    return load(settings().config_dir, current_queues().reports.values())


def workflow_id_of(event: Event) -> str:
    """The id of the workflow that an event starts: the same for the same source and id, whoever computes it."""
    return _workflow_id(event.source, event.id)


@lru_cache(maxsize=2 * MAX_BATCH)  # asked for twice on each event's way
def _workflow_id(source: str, event_id: str) -> str:
    digest = hashlib.sha256(json.dumps([source, event_id]).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def starts_of(events: Sequence[Event]) -> list[Start | None]:
    """What each event starts. Raises EventUnwanted or EventConflict, in a batch with the place of the refused one."""
    config, reports = event_config(), current_queues().reports
    found, named = list[Start | None](), dict[tuple[str, str], Event]()
    for place, event in enumerate(events):
        at = f"[{place}] " if len(events) > 1 else ""
        try:
            found.append(start_of(event, config, reports))
        except EventRefused as exc:
            raise EventUnwanted(f"{at}{exc}") from None
        first = named.setdefault((event.source, event.id), event)
        if first is not event and _fingerprint(first) != _fingerprint(event):
            raise EventConflict(f"{at}id: another event of this batch has source {event.source!r} and id {event.id!r}.")
    return found


def accept(events: Sequence[Event], *, door: str) -> list[Accepted]:
    """Record the workflows of these events, of all or of none. `door` is for the log.

    Raises EventRefused, EventConflict, Unavailable while a queue or the outbox is at its bound, or redis' own errors.
    """
    group = list(zip(events, starts_of(events), strict=True))
    for queue in bounds.of_tasks(start.task for _, start in group if start):
        bounds.check(queue, bounds.length(queue.name))
    keys, args = call([group])
    return told(group, outcomes_of(record.run_script("accept", keys, args)), door=door)


Group = Sequence[tuple[Event, Start | None]]


def call(groups: Sequence[Group]) -> tuple[list[str], list[Any]]:
    """Keys and arguments of workflows/lua/accept.lua for groups of events; ignored ones are left out."""
    keys = [record.OUTBOX, record.WAKE, record.OPEN, record.INDEX]
    args: list[Any] = [settings().workflow_expires, record.OUTBOX_MAX, len(FIELDS), *FIELDS]
    for group in groups:
        wanted = [(event, start) for event, start in group if start]
        args.append(len(wanted))
        for event, start in wanted:
            workflow_id = workflow_id_of(event)
            keys.append(record.meta_key(workflow_id))
            args += [
                workflow_id,
                _fingerprint(event),
                start.task,
                dumps(dict(start.arguments)),
                event.id,
                event.source,
                event.type,
            ]
    return keys, args


def outcomes_of(reply: Any) -> list[int]:
    """The script's answer. Raises Unavailable when the outbox is full."""
    if reply in ("full", b"full"):
        raise Unavailable(
            f"{record.OUTBOX_MAX:,} accepted workflows wait to be published; the consumer or the broker is away."
        )
    return list(reply)


def told(group: Group, outcomes: Sequence[int], *, door: str) -> list[Accepted]:
    """What became of a group, logged. Raises EventConflict if it was not recorded."""
    left = iter(outcomes)
    outcome_of = [(event, next(left) if start else None) for event, start in group]
    for event, outcome in outcome_of:
        if outcome == CONFLICT:
            raise EventConflict(
                f"id: an event with source {event.source!r} and id {event.id!r} was accepted before, of another type or with "
                "other data. Give each event an id of its own."
            )
    found = [
        Accepted(event, "" if outcome is None else workflow_id_of(event), STATES[outcome])
        for event, outcome in outcome_of
    ]
    for each in found:
        log.info(_SAID[each.state], event_id=each.event.id, event_source=each.event.source, event_type=each.event.type,
                 workflow_id=each.workflow_id, door=door)  # fmt: skip
    return found


def _fingerprint(event: Event) -> str:
    return hashlib.sha256(_canonical([event.type, event.data]).encode()).hexdigest()[:16]
