"""An event in; the task that starts its workflow, and the arguments it gets, out. Pure: nothing is sent or kept here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchyard.errors import EventRefused, shown
from switchyard.events.event import Event
from switchyard.events.tables import OPTIONAL, EventConfig, Rule
from switchyard.queues import expected
from switchyard.report import REPORT_EVENT, Report

_MISSING = object()


@dataclass(frozen=True)
class Start:
    """The task that an event starts, and the keyword arguments it is told."""

    task: str
    arguments: Mapping[str, Any]


def start_of(event: Event, config: EventConfig, reports: Mapping[str, Report]) -> Start | None:
    """What the event starts; None where its type is known, and no filter lets it through.

    Raises EventRefused for an unknown type or report, and for data that lacks a parameter.
    """
    if event.type == REPORT_EVENT:
        return _report(event.data, reports)
    if event.type not in config.rules:
        raise EventRefused(
            f"type: nothing waits for {shown(event.type)}. {expected(event.type, (*config.rules, REPORT_EVENT))}"
        )
    rule = next((rule for rule in config.rules[event.type] if _fits(rule, event.data)), None)
    return Start(rule.workflow, _arguments(rule, event.data)) if rule else None


def _report(data: Any, reports: Mapping[str, Report]) -> Start:
    if not isinstance(data, dict) or "report" not in data:
        raise EventRefused(f"data.report is missing; it names the report. {expected('', reports)}")
    name, parameters = data["report"], data.get("parameters", {})
    if not isinstance(name, str) or name not in reports:
        raise EventRefused(f"data.report: there is no report {shown(name)}. {expected(str(name)[:100], reports)}")
    if not isinstance(parameters, dict):
        raise EventRefused(f"data.parameters: expected an object of parameters, got {shown(parameters)}.")
    if unknown := data.keys() - {"report", "parameters"}:
        raise EventRefused(
            f"data: unknown key {shown(min(unknown))}; what the report is to be told goes into data.parameters."
        )
    return Start(reports[name].start_task, parameters)


def _fits(rule: Rule, data: Any) -> bool:
    return all(any(_same(_at(data, path), each) for each in values) for path, values in rule.when.items())


def _same(value: Any, wanted: Any) -> bool:
    # True is no 1 here, as it is none in JSON.
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _arguments(rule: Rule, data: Any) -> dict[str, Any]:
    found = {name: (path, _at(data, path.removesuffix(OPTIONAL))) for name, path in rule.parameters.items()}
    for path, value in found.values():
        if value is _MISSING and not path.endswith(OPTIONAL):
            raise EventRefused(f"data.{path} is missing; {rule.workflow} needs it.")
    return {name: value for name, (_, value) in found.items() if value is not _MISSING}


def _at(data: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(data, dict) or key not in data:
            return _MISSING
        data = data[key]
    return data
