"""The JSON Schemas that the HTTP door publishes: what they allow is what an event may be, no more and no less."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import jsonschema_rs
import pytest

from switchyard.errors import EventRefused
from switchyard.events.event import Event, parse
from switchyard.events.starting import start_of
from switchyard.events.tables import EventConfig, Rule
from switchyard.producer.http import schemas
from switchyard.report import Report

CONFIG = EventConfig(
    {
        "free": (Rule(workflow="w", parameters={"limit": "limit?"}),),
        "needs": (Rule(workflow="w", parameters={"a": "a", "b": "c.b"}),),
        "fits": (Rule(workflow="w", parameters={"a": "a"}, when={"c.b": [1, "x"], "a": True}),),
        "several": (
            Rule(workflow="v", parameters={"d": "d"}, when={"a": 1}),
            Rule(workflow="w", parameters={"b": "c.b"}),
        ),
    },
    (),
)
REPORTS = {"sales": Report(name="sales", module="m")}


def validator(name: str) -> Any:
    components = schemas.components(CONFIG, REPORTS)
    document = {"components": {"schemas": components}, **schemas.ref(name)}
    return jsonschema_rs.validator_for(document, validate_formats=True)


def is_taken(event: dict[str, Any]) -> bool:
    try:
        found = parse(json.dumps(event).encode())
        assert isinstance(found, Event)
        start_of(found, CONFIG, REPORTS)
    except EventRefused:
        return False
    return True


def test_the_schema_allows_what_the_door_takes() -> None:
    """Of every type, with every combination of data that its rules look at."""
    valid = validator("CloudEvent").is_valid
    nothing = object()
    values = [nothing, None, 0, 1, True, "x"]
    seen = set()
    for name, a, b, d in itertools.product(CONFIG.rules, values, [*values, "no object"], values):
        data: dict[str, Any] = {"c": 1} if b == "no object" else {"c": {} if b is nothing else {"b": b}}
        data |= {key: value for key, value in (("a", a), ("d", d)) if value is not nothing}
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": name, "data": data}
        assert valid(event) == is_taken(event), event
        seen.add((name, is_taken(event)))
    assert len(seen) == 6  # free and fits take whatever comes


@pytest.mark.parametrize("name", [*CONFIG.rules, "report.requested", "other", None])
@pytest.mark.parametrize("data", [..., None, [], {}, "x", {"report": "sales"}, {"report": "x"}, {"report": "sales", "parameters": {"p": 1}},
                                  {"report": "sales", "parameters": []}, {"report": "sales", "p": 1}])  # fmt: skip
def test_the_schema_allows_what_the_door_takes_for_data(name: str | None, data: Any) -> None:
    """Absent, null, of another kind, and a report's."""
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": name, "data": data}
    event = {key: value for key, value in event.items() if value is not ...}
    assert validator("CloudEvent").is_valid(event) == is_taken(event)


def test_the_schema_allows_what_the_door_takes_of_attributes() -> None:
    """Changed at random, one or two at a time."""
    dice, valid = random.Random(1), validator("CloudEvent").is_valid
    values = [
        None,
        "",
        "x",
        "a\x01",
        "/a b",
        "2026-01-31T02:00:00Z",
        "2026-01-31",
        "application/json",
        "Text/vnd.a-b+JSON; charset=utf-8",
        "text/xml",
        "application/json,",
        "x" * 300,
        "x" * 1025,
        1,
        2**63,
        True,
        [],
        {},
        1.5,
    ]
    names = [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "dataschema",
        "datacontenttype",
        "data",
        "extension",
        "Upper",
        "a_b",
        "data_base64",
        "x" * 65,
    ]
    for _ in range(5000):
        event: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "free"}
        for name in dice.sample(names, dice.choice([1, 2])):
            if dice.random() < 0.2:
                event.pop(name, None)
            else:
                event[name] = dice.choice(values)
        assert valid(event) == is_taken(event), event


def test_every_example_is_taken() -> None:
    """A reader copies it."""
    examples = schemas.components(CONFIG, REPORTS)["CloudEvent"]["examples"]
    assert [each["type"] for each in examples] == [*CONFIG.rules, "report.requested"]
    for each in examples:
        assert is_taken(each), each
        assert validator("CloudEvent").is_valid(each), each


def test_without_reports_no_report_can_be_named() -> None:
    """An empty list of names would be no valid schema."""
    components = schemas.components(CONFIG, [])
    named = jsonschema_rs.validator_for({"components": {"schemas": components}, **schemas.ref("ReportName")})
    assert not named.is_valid("sales")
    assert not named.is_valid("")
