"""The tables of events.toml: their keys, and the checks that need no other table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

from switchyard.settings import known_zone

#: Ends the name of a key of the data that may be missing.
OPTIONAL = "?"
#: What is below /v1 already.
TAKEN_PATHS = ("events", "workflows", "reports")

_KEYS = re.compile(r"[^.?\s]+(\.[^.?\s]+)*")

Scalar = str | bool | int | float


def _key(value: str) -> str:
    if not _KEYS.fullmatch(value):
        raise ValueError('expected a key of the data, such as "limit" or "customer.id"')
    return value


def _parameter(value: str) -> str:
    if not _KEYS.fullmatch(value.removesuffix(OPTIONAL)):
        raise ValueError(
            'expected a key of the data, such as "limit", "customer.id", or "limit?" where it may be missing'
        )
    return value


def _wanted(value: object) -> tuple[Scalar, ...]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(each, Scalar) for each in values):
        raise ValueError(
            'expected a text, a number, a boolean, or a list of these; a key in a key is quoted, such as "customer.id"'
        )
    return tuple(values)


def _path(value: str) -> str:
    if not re.fullmatch(r"/v1(/[a-z0-9][a-z0-9_-]*)+", value):
        raise ValueError("expected a path below /v1, such as /v1/products/refresh")
    if (first := value.split("/")[2]) in TAKEN_PATHS:
        raise ValueError(f"/v1/{first} is taken; expected another path below /v1")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", value):
        raise ValueError("bad name; expected A-Z, a-z, 0-9, _, . and -, a letter or digit first, 100 at most")
    return value


def _cron(value: str) -> str:
    try:
        CronSim(value, datetime(2026, 1, 1))  # noqa: DTZ001  only read
    except (CronSimError, ValueError):
        good = False
    else:
        good = len(value.split()) == 5
    if not good:
        raise ValueError('expected a cron line of five fields, such as "0 2 * * *"')
    return value


class Rule(BaseModel):
    """What one type of event starts: a workflow, with parameters out of its data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workflow: str = Field(min_length=1, description="The task that fans it out")
    parameters: dict[str, Annotated[str, AfterValidator(_parameter)]] = Field(
        default_factory=dict, description="Keyword argument = key of the data"
    )
    when: dict[Annotated[str, AfterValidator(_key)], Annotated[tuple[Scalar, ...], PlainValidator(_wanted)]] = Field(
        default_factory=dict, description="Key of the data = the value, or the list of values, that it must have"
    )
    path: Annotated[str, AfterValidator(_path)] | None = Field(
        default=None, description="A path of the HTTP door that takes the bare data and sends this event"
    )


class Schedule(BaseModel):
    """An event that the clock tells. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, AfterValidator(_name)]
    event: str = Field(description="Its type")
    schedule: Annotated[str, AfterValidator(_cron)] = Field(description="A cron line")
    timezone: Annotated[str, AfterValidator(known_zone)] | None = Field(default=None, description="Empty: TIMEZONE")
    jitter: float = Field(default=0, ge=0, le=3600, description="It is told up to so many seconds later")
    missed: Literal["catch_up", "skip"] = Field(
        default="catch_up", description="What becomes of a run that was slept through"
    )
    data: dict[str, Any] = Field(default_factory=dict, description="The event's data")


@dataclass(frozen=True)
class EventConfig:
    """The rules of each type, and the schedules. An event whose type has rules but fits none of their filters is ignored."""

    rules: Mapping[str, tuple[Rule, ...]]
    schedules: tuple[Schedule, ...]

    @property
    def workflows(self) -> dict[str, str]:
        """The task of each rule, after the key that names it."""
        return {
            f"{place_of(name, number, len(rules))}.workflow": rule.workflow
            for name, rules in self.rules.items()
            for number, rule in enumerate(rules)
        }


def place_of(name: str, number: int, count: int) -> str:
    """Where the table of an event's rule stands; a number where a type has several."""
    return f'events.toml: events."{name}"' + (f"[{number}]" if count > 1 else "")
