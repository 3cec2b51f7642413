"""config/events.toml in; which event starts which workflow, and when the clock tells it, out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from celery.schedules import ParseException, crontab
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from switchyard.errors import ConfigError, refusal
from switchyard.report import Report


class Event(BaseModel):
    """One kind of event: the task that starts its workflow, and the cron line on which the clock tells it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    workflow: str = Field(min_length=1)
    schedule: str | None = None

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None:
            cron(value)
        return value


def cron(line: str) -> crontab:
    """Celery's schedule for `minute hour day-of-month month day-of-week`. Raises ValueError."""
    try:
        return crontab.from_string(line)
    except (ValueError, TypeError, ParseException) as exc:
        raise ValueError('expected a cron line of five fields, such as "0 2 * * *"') from exc


def load(config_dir: Path) -> tuple[Event, ...]:
    """The events of `config_dir`/events.toml; none if the file is missing. Raises ConfigError with a sentence per key."""
    path = config_dir / "events.toml"
    if not path.exists():
        return ()
    try:
        tables = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}.") from exc
    if unknown := set(tables) - {"events"}:
        raise ConfigError(f"events.toml: {min(unknown)!r} is no table here. Expected one of: events.")
    events = tables.get("events", {})
    if not isinstance(events, dict):
        raise ConfigError(f"events.toml: events: expected tables of events, got {events!r}.")
    return tuple(_event(name, table) for name, table in events.items())


def _event(name: str, table: Any) -> Event:
    if not isinstance(table, dict):
        raise ConfigError(f'events.toml: events."{name}": expected a table of keys, got {table!r}.')
    if "name" in table:
        raise ConfigError(
            f'events.toml: events."{name}".name: the table has its name in its head. Expected one of: workflow, schedule.'
        )
    try:
        return Event(name=name, **table)
    except ValidationError as exc:
        error = exc.errors()[0]
        key = ".".join(str(part) for part in error["loc"])
        expected = f" Expected one of: {', '.join(k for k in Event.model_fields if k != 'name')}." * (
            error["type"] == "extra_forbidden"
        )
        raise ConfigError(f'events.toml: events."{name}".{key}: {refusal(error)}.{expected}') from exc


def of_reports(reports: Iterable[Report]) -> tuple[Event, ...]:
    """The event of each report. Raises ConfigError for a schedule that is none."""
    return tuple(_of_report(report) for report in reports)


def _of_report(report: Report) -> Event:
    try:
        return Event(name=report.event, workflow=report.start_task, schedule=report.schedule)
    except ValidationError as exc:
        raise ConfigError(f"queues.toml: reports.{report.name}.schedule: {refusal(exc.errors()[0])}.") from exc


def every(config_dir: Path, reports: Iterable[Report]) -> tuple[Event, ...]:
    """The events of events.toml and those of the reports. Raises ConfigError, too for one that is there twice."""
    own, derived = load(config_dir), of_reports(reports)
    if twice := {event.name for event in own} & {event.name for event in derived}:
        raise ConfigError(
            f'events.toml: events."{min(twice)}": its report in queues.toml makes this event; take another name.'
        )
    return (*own, *derived)


def pruning(reports: Iterable[Report]) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule` for old artefacts, which are removed once a day and not only when a report runs."""
    return {r.prune_task: {"task": r.prune_task, "schedule": cron("45 3 * * *")} for r in reports}


def beat_schedule(events: tuple[Event, ...]) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`: the scheduled events, and the core's own sweep of stalled workflows."""
    scheduled = {
        event.name: {"task": event.workflow, "schedule": cron(event.schedule)} for event in events if event.schedule
    }
    return {**scheduled, "switchyard.sweep": {"task": "switchyard.sweep", "schedule": 60.0}}
