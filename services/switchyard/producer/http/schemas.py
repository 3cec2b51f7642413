"""The events and reports as configured in; the JSON Schemas of what the HTTP door takes and answers, by name, out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from switchyard.events.event import EXTENSION, MAX_BATCH, Event
from switchyard.events.tables import OPTIONAL, EventConfig, Rule
from switchyard.producer.http.workflows import STATES
from switchyard.report import REPORT_EVENT

Schema = dict[str, Any]

#: JSON as I-JSON has it: what the readers of every language can hold.
_INT64: Schema = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
_TIME: Schema = {"type": "string", "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_SHORT: Schema = {"minLength": 1, "maxLength": 1024}
#: Without control characters.
_JSON_TYPE = r"^[\w.!#$&^-]+/([\w.!#$&^-]+\+)?[jJ][sS][oO][nN](\s*;[ -~]*)?$".replace(r"\w", "A-Za-z0-9_")
_PRINTED = r"^[^\x00-\x1f\x7f-\x9f]*$"


def ref(name: str) -> Schema:
    """A reference to one of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def components(config: EventConfig, reports: Iterable[str]) -> dict[str, Schema]:
    """Every schema that the document refers to."""
    names = sorted(reports)
    return {
        "CloudEvent": _cloud_event(config, names),
        "Batch": {"type": "array", "items": ref("CloudEvent"), "minItems": 1, "maxItems": MAX_BATCH},
        "Json": _json(),
        "Data": {"type": "object", "additionalProperties": ref("Json")},
        "ReportName": {"type": "string", "enum": names} if names else {"type": "string", "pattern": "^(?!)"},
        "Accepted": _accepted(),
        "Workflow": _workflow(large=True),
        "WorkflowPage": _object(
            workflows={"type": "array", "items": _workflow(large=False)},
            next={"type": ["string", "null"], "description": "The next page's path; null: this is the last"},
        ),
        "Progress": _object(
            event={"enum": ["progress", "end"]},
            data={"type": "string", "contentMediaType": "application/json", "contentSchema": ref("Workflow")},
        ),
        "Reports": _object(
            reports={"type": "array", "items": _object(name=_TEXT, links=_object(self=_TEXT))},
        ),
        "Artefacts": _object(report=_TEXT, artefacts={"type": "array", "items": _artefact()}),
        "Health": _object(status={"const": "ok"}),
        "Problem": _object(
            type={"const": "about:blank"},
            title=_TEXT,
            status={"type": "integer", "minimum": 400, "maximum": 599},
            detail={"type": "string", "description": "What is wrong, and the next step"},
        ),
    }


def _object(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _json() -> Schema:
    """Any JSON. A whole number beyond 64 bits means another thing to each reader; what a schema cannot say is that it is
    taken all the same when it is written with an exponent.
    """
    several: list[Schema] = [
        {"type": "number", "not": {"type": "integer"}},
        {"type": "array", "items": ref("Json")},
        {"type": "object", "additionalProperties": ref("Json")},
    ]
    return {"anyOf": [{"type": ["null", "boolean", "string"]}, _INT64, *several]}


def _accepted() -> Schema:
    return _object(
        workflow={"type": ["string", "null"], "description": "The id of its workflow; null for an ignored event"},
        state={"enum": ["accepted", "repeated", "ignored"]},
        event=_object(source=_TEXT, id=_TEXT),
    )


def _workflow(*, large: bool) -> Schema:
    answers: dict[str, Schema] = {
        "arguments": {"type": ["object", "null"], "description": "What its task was told"},
        "result": {"description": "What its callback returned"},
    }
    nullable = {"anyOf": [_object(source=_TEXT, id=_TEXT, type=_TEXT), {"type": "null"}]}
    return _object(
        id=_TEXT,
        name={"type": "string", "description": "The task that fans it out"},
        state={"enum": list(STATES)},
        attempt=_COUNT,
        total={**_COUNT, "description": "Its items; 0 until they are known"},
        done=_COUNT,
        failed=_COUNT,
        created=_TIME,
        updated=_TIME,
        reason={"type": "string", "description": "Why it has ended without a result, if it has"},
        event={**nullable, "description": "What started it; null for one that no event has started"},
        links=_object(self=_TEXT, stream=_TEXT),
        **(answers if large else {}),
    )


def _artefact() -> Schema:
    file = _object(href=_TEXT, bytes=_COUNT, media_type=_TEXT)
    return _object(name=_TEXT, made=_TIME, files={"type": "array", "items": file})


def _cloud_event(config: EventConfig, reports: Sequence[str]) -> Schema:
    schema = Event.model_json_schema()
    properties = {name: {k: v for k, v in each.items() if k != "title"} for name, each in schema["properties"].items()}
    types = [*config.rules, REPORT_EVENT]
    properties["id"] |= {"pattern": _PRINTED}
    properties["type"] = {"description": properties["type"]["description"], "enum": types}
    properties["subject"] = {"anyOf": [{**_TEXT, **_SHORT, "pattern": _PRINTED}, {"type": "null"}]}
    properties["time"] = {"anyOf": [_TIME, {"type": "null"}], "description": "When it happened, as RFC 3339"}
    properties["datacontenttype"] = {"anyOf": [{**_TEXT, "maxLength": 256, "pattern": _JSON_TYPE}, {"type": "null"}]}
    properties["data_base64"] = {"type": "null"}
    properties["data"] = {**ref("Json"), "description": properties["data"]["description"]}
    data = {name: data_of(rules) for name, rules in config.rules.items()} | {REPORT_EVENT: _report(reports)}
    return {
        "type": "object",
        "description": "A CloudEvent 1.0 with JSON data. `source` and `id` name it: sent again, it starts nothing twice.",
        "properties": properties,
        "required": ["specversion", "id", "source", "type"],
        "propertyNames": {"anyOf": [{"pattern": EXTENSION}, {"const": "data_base64"}]},
        "additionalProperties": {
            "anyOf": [{**_TEXT, "pattern": _PRINTED}, {"type": "boolean"}, _INT64, {"type": "null"}]
        },
        "oneOf": [_variant(name, data[name]) for name in types],
        "examples": [example(name, data[name]) for name in types],
    }


def _variant(name: str, data: Schema) -> Schema:
    required = ["type", "data"] if _is_needed(data) else ["type"]
    return {"title": name, "properties": {"type": {"const": name}, "data": data}, "required": required}


def _is_needed(data: Schema) -> bool:
    """Whether an event without data is refused: none of the filters fits it then, so it is up to the last rule."""
    return _is_needed(data["else"]) if "else" in data else data.get("type") == "object"


def _report(names: Sequence[str]) -> Schema:
    return {
        "type": "object",
        "properties": {
            "report": {"enum": list(names)},
            "parameters": ref("Data"),
        },
        "required": ["report"],
        "additionalProperties": False,
    }


def data_of(rules: Sequence[Rule]) -> Schema:
    """What the data of an event with these rules must have: the parameters of the first rule that fits it."""
    schema: Schema = {}
    for rule in reversed(rules):
        told = _with([(path, {}) for path in rule.parameters.values() if not path.endswith(OPTIONAL)])
        fits = _with([(path, {"enum": list(wanted)}) for path, wanted in rule.when.items()])
        schema = {"if": fits, "then": told, "else": schema} if fits else told
    return schema


def _with(wanted: Iterable[tuple[str, Schema]]) -> Schema:
    """Data with something at each of these paths."""
    schema: Schema = {}
    for path, value in wanted:
        at, *keys = schema, *path.removesuffix(OPTIONAL).split(".")
        for key in keys:
            at["type"] = "object"
            at["required"] = sorted({*at.get("required", ()), key})
            at = at.setdefault("properties", {}).setdefault(key, {})
        at.update(value)
    return schema


def example(name: str, data: Mapping[str, Any]) -> Schema:
    """An event of this type that would be accepted."""
    shown = _instance(data)
    return {
        "specversion": "1.0",
        "id": f"{name}/1",
        "source": "/shop",
        "type": name,
        **({"data": shown} if shown else {}),
    }


def _instance(schema: Mapping[str, Any]) -> Any:
    if "if" in schema:
        return {**_instance(schema["if"]), **(_instance(schema["then"]) or {})}
    if "enum" in schema:
        return schema["enum"][0] if schema["enum"] else None
    if schema.get("type") == "object":
        return {key: _instance(schema["properties"][key]) for key in schema.get("required", ())}
    return 1 if not schema else None
