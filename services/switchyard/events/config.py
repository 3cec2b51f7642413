"""config/events.toml in; which event starts which workflow, and when the clock tells one, out. Every refusal of it is here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from switchyard.errors import ConfigError, EventRefused, refusal, shown
from switchyard.events import strict_json
from switchyard.events.event import Event
from switchyard.events.starting import start_of
from switchyard.events.tables import EventConfig, Rule, Schedule, place_of
from switchyard.queues import expected, read_toml
from switchyard.report import REPORT_EVENT, Report

__all__ = ["EventConfig", "Rule", "Schedule", "load"]

_TABLES = ("events", "schedules")

M = TypeVar("M", bound=BaseModel)


def load(config_dir: Path, reports: Iterable[Report]) -> EventConfig:
    """events.toml, and what the reports add to it. A missing file adds nothing. Raises ConfigError naming the key."""
    tables = _tables(config_dir / "events.toml")
    rules = {name: _rules(name, table) for name, table in tables.get("events", {}).items()}
    _check_paths(rules)
    own = [_schedule(name, table) for name, table in tables.get("schedules", {}).items()]
    by_name = {report.name: report for report in reports}
    derived = [_of_report(report) for report in by_name.values() if report.schedule is not None]
    if twice := {each.name for each in own} & {each.name for each in derived}:
        raise ConfigError(
            f"events.toml: schedules.{min(twice)}: the schedule of a report in queues.toml has this name; take another."
        )
    config = EventConfig(rules, (*own, *derived))
    for each in own:
        _check_schedule(each, config, by_name)
    return config


def _tables(path: Path) -> dict[str, Any]:
    tables = read_toml(path) if path.exists() else {}
    for name, table in tables.items():
        if name not in _TABLES:
            raise ConfigError(f"events.toml: {name!r} is no table here. {expected(name, _TABLES)}")
        if not isinstance(table, dict):
            raise ConfigError(f"events.toml: {name}: expected tables of {name}, got {shown(table)}.")
    return tables


def _rules(name: str, found: Any) -> tuple[Rule, ...]:
    if name == REPORT_EVENT:
        raise ConfigError(f"{place_of(name, 0, 1)}: it starts the reports of queues.toml already; take another name.")
    try:
        _event(name, None)
    except ValidationError as exc:
        raise ConfigError(f"{place_of(name, 0, 1)}: bad type; {refusal(exc.errors()[0])}.") from None
    tables = found if isinstance(found, list) and found else [found]
    return tuple(_model(Rule, place_of(name, number, len(tables)), table) for number, table in enumerate(tables))


def _schedule(name: str, table: Any) -> Schedule:
    return _model(Schedule, f"events.toml: schedules.{name}", table, name=name)


def _model(model: type[M], place: str, table: Any, **head: Any) -> M:
    """The table as a model of it; `head` is what its head says."""
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: expected a table of keys, got {shown(table)}.")
    keys = [key for key in model.model_fields if key not in head]
    for key, value in table.items():
        if key not in keys:
            quoted = ' A name with dots is quoted in the head: "a.b".' if isinstance(value, dict) else ""
            raise ConfigError(f"{place}.{key}: unknown key. {expected(key, keys)}{quoted}")
    try:
        return model(**head, **table)
    except ValidationError as exc:
        error = exc.errors()[0]
        key = "".join(f".{part}" for part in error["loc"] if part != "[key]" and part not in head)
        raise ConfigError(f"{place}{key}: {refusal(error)}.") from None


def _of_report(report: Report) -> Schedule:
    try:
        return Schedule(
            name=f"report.{report.name}",
            event=REPORT_EVENT,
            schedule=report.schedule or "",
            data={"report": report.name},
        )
    except ValidationError as exc:
        raise ConfigError(f"queues.toml: reports.{report.name}.schedule: {refusal(exc.errors()[0])}.") from None


def _check_paths(rules: Mapping[str, tuple[Rule, ...]]) -> None:
    owners: dict[str, str] = {}
    for name, some in rules.items():
        for rule in some:
            if rule.path and (other := owners.setdefault(rule.path, name)) != name:
                raise ConfigError(
                    f'events.toml: events."{name}".path: {rule.path!r} is taken by events."{other}"; take another path.'
                )


def _check_schedule(schedule: Schedule, config: EventConfig, reports: Mapping[str, Report]) -> None:
    """Whatever would refuse or ignore its event at two in the morning does so now."""
    place = f"events.toml: schedules.{schedule.name}"
    types = (*config.rules, REPORT_EVENT)
    if schedule.event not in types:
        raise ConfigError(
            f"{place}.event: nothing waits for {shown(schedule.event)}. {expected(schedule.event, types)}"
        )
    try:
        data = strict_json.loads(json.dumps(schedule.data).encode())
        start = start_of(_event(schedule.event, data), config, reports)
    except TypeError:
        raise ConfigError(
            f"{place}.data: expected what JSON can carry; write dates and times as text, got {shown(schedule.data)}."
        ) from None
    except EventRefused as exc:
        raise ConfigError(f"{place}.data: {exc}") from None
    if start is None:
        raise ConfigError(
            f'{place}.data: it would start nothing, no `when` of events."{schedule.event}" fits {shown(schedule.data)}.'
        )


def _event(name: str, data: Any) -> Event:
    return Event(specversion="1.0", id="clock", source="/clock", type=name, data=data)
