"""A CloudEvent in, a checked event out: what CloudEvents 1.0.2 has in its JSON format, and every way in which it is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from switchyard.errors import EventRefused
from switchyard.events.event import MAX_BATCH, MAX_BYTES, Event, parse

REQUIRED = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "product.updated"}
A_URI = "expected a URI reference, such as /orders or https://shop.example/orders"
A_TIME = "expected a time as RFC 3339 has it, such as 2026-01-31T02:00:00Z"
A_MEDIA_TYPE = "expected application/json, or a media type that ends in +json"
AN_EXTENSION = "expected a text without control characters, a whole number or a boolean"


def body(**attributes: Any) -> bytes:
    return json.dumps({**REQUIRED, **attributes}).encode()


def parsed(**attributes: Any) -> Event:
    found = parse(body(**attributes))
    assert isinstance(found, Event)
    return found


def refusal(sent: bytes) -> str:
    with pytest.raises(EventRefused) as refused:
        parse(sent)
    return str(refused.value)


# --- What is taken


def test_four_attributes_are_enough() -> None:
    """The others, and the data, are absent."""
    found = parsed()
    assert found.model_dump() == {
        **REQUIRED, "subject": None, "time": None, "datacontenttype": None, "dataschema": None, "data": None,
    }  # fmt: skip


def test_the_specifications_own_example_is_taken() -> None:
    """https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md, with JSON data."""
    found = parsed(
        type="com.example.someevent", source="/mycontext", subject=None, id="C234-1234-1234",
        time="2018-04-05T17:31:00Z", comexampleextension1="value", comexampleothervalue=5,
        datacontenttype="application/json", data={"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
    )  # fmt: skip
    assert found.data == {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True}
    assert found.model_extra == {"comexampleextension1": "value", "comexampleothervalue": 5}


@pytest.mark.parametrize(
    "name", ["subject", "time", "datacontenttype", "dataschema", "data", "data_base64", "traceparent"]
)
def test_null_is_absent(name: str) -> None:
    """For every optional attribute and for extensions, says the JSON format."""
    assert parsed(**{name: None}) == parsed()


@pytest.mark.parametrize("data", [None, False, 0, "", "text", 1.5, [], [1], {}, {"id": None}, {"data_base64": "x"}])
def test_data_is_any_json(data: Any) -> None:
    """Which keys it must have is the type's to say."""
    assert parsed(data=data).data == data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # text as long as it may be, of any script
        ("id", "ä" * 256),
        ("type", "商品.更新"),
        ("subject", "a/b c?ü\u2028"),
        # URI references: a path, a whole one, a name, a fragment; an IPv6 host
        ("source", "/"),
        ("source", "https://shop.example:8080/orders/1?x=%C3%A4&y=(1)#top"),
        ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
        ("source", "shop"),
        ("source", "//[::1]/"),
        ("source", "a" * 1024),
        ("dataschema", "https://shop.example/schemas/1"),
        # times: zones, lower case, fractions, a leap second
        ("time", "2026-01-31T02:00:00Z"),
        ("time", "2026-01-31t02:00:00z"),
        ("time", "2026-01-31T02:00:00+05:45"),
        ("time", "2026-01-31T02:00:00-00:00"),
        ("time", "2026-01-31T02:00:00.1Z"),
        ("time", "2026-01-31T02:00:00.123456789+14:00"),
        ("time", "2016-12-31T23:59:60Z"),
        ("time", "2016-12-31T23:59:60.5Z"),
        ("time", "2024-02-29T00:00:00Z"),
        # JSON, under each of its names
        ("datacontenttype", "application/json"),
        ("datacontenttype", "application/json; charset=utf-8"),
        ("datacontenttype", "APPLICATION/JSON;Charset=UTF-8"),
        ("datacontenttype", "text/json"),
        ("datacontenttype", "application/vnd.shop.order-v1+json"),
        ("datacontenttype", "model/gltf+json"),
        # extensions: letters and digits; texts, whole numbers, booleans
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("9lives", 9),
        ("model", False),
        ("empty", ""),
        ("x" * 64, "a"),
    ],
)
def test_an_attribute_is_kept_as_it_was_sent(name: str, value: Any) -> None:
    """Whatever the specification allows."""
    assert parsed(**{name: value}).model_dump()[name] == value


def test_an_event_cannot_be_changed() -> None:
    """Its name is what a repeat is known by."""
    with pytest.raises(ValidationError, match="frozen"):
        parsed().id = "2"  # type: ignore[misc]


# --- What is refused


@pytest.mark.parametrize("name", REQUIRED)
def test_an_event_without_a_required_attribute_is_refused(name: str) -> None:
    """Left out, or null."""
    without = {key: value for key, value in REQUIRED.items() if key != name}
    assert refusal(json.dumps(without).encode()) == refusal(body(**{name: None})) == f"{name}: field required."


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        # another version, or one that is a number
        ("specversion", "0.3", "specversion: input should be '1.0', got '0.3'."),
        ("specversion", "1.0.2", "specversion: input should be '1.0', got '1.0.2'."),
        ("specversion", 1.0, "specversion: input should be '1.0', got 1.0."),
        # an attribute that is no text, empty, too long, or of several lines
        ("id", 1, "id: input should be a valid string, got 1."),
        ("id", True, "id: input should be a valid string, got True."),
        ("id", "", "id: string should have at least 1 character, got ''."),
        ("id", "x" * 257, f"id: string should have at most 256 characters, got '{'x' * 99}…."),
        ("id", "1\n2", r"id: expected a text without control characters, got '1\n2'."),
        ("id", "\x9f", r"id: expected a text without control characters, got '\x9f'."),
        ("type", [], "type: input should be a valid string, got []."),
        ("type", "", "type: string should have at least 1 character, got ''."),
        ("type", "\0", r"type: expected a text without control characters, got '\x00'."),
        ("subject", "", "subject: string should have at least 1 character, got ''."),
        ("subject", 5, "subject: input should be a valid string, got 5."),
        # no URI reference
        ("source", "", "source: string should have at least 1 character, got ''."),
        ("source", "my shop", f"source: {A_URI}, got 'my shop'."),
        ("source", "/ä", f"source: {A_URI}, got '/ä'."),
        ("source", "/a\n", rf"source: {A_URI}, got '/a\n'."),
        ("source", "<script>", f"source: {A_URI}, got '<script>'."),
        ("source", "a" * 1025, f"source: string should have at most 1024 characters, got '{'a' * 99}…."),
        ("dataschema", "", "dataschema: string should have at least 1 character, got ''."),
        ("dataschema", "a b", f"dataschema: {A_URI}, got 'a b'."),
        # data that is no JSON
        ("datacontenttype", "text/xml", f"datacontenttype: {A_MEDIA_TYPE}, got 'text/xml'."),
        ("datacontenttype", "application/xml+notjson", f"datacontenttype: {A_MEDIA_TYPE}, got 'application/xml+notjson'."),
        ("datacontenttype", "json", f"datacontenttype: {A_MEDIA_TYPE}, got 'json'."),
        ("datacontenttype", "", f"datacontenttype: {A_MEDIA_TYPE}, got ''."),
        ("datacontenttype", "application/json;\n", rf"datacontenttype: {A_MEDIA_TYPE}, got 'application/json;\n'."),
        ("datacontenttype", "a/json;" * 99, f"datacontenttype: string should have at most 256 characters, got '{('a/json;' * 99)[:99]}…."),
        ("data_base64", "AQI=", "data_base64: expected JSON in data."),
        # no extension's name
        ("dataRef", 1, "'dataRef' is no attribute: expected lower-case letters and digits only, 64 at most."),
        ("trace_id", 1, "'trace_id' is no attribute: expected lower-case letters and digits only, 64 at most."),
        ("", 1, "'' is no attribute: expected lower-case letters and digits only, 64 at most."),
        ("é", 1, "'é' is no attribute: expected lower-case letters and digits only, 64 at most."),
        ("x\n", 1, r"'x\n' is no attribute: expected lower-case letters and digits only, 64 at most."),
        ("x" * 900, 1, f"'{'x' * 80}' is no attribute: expected lower-case letters and digits only, 64 at most."),
        # nor its value
        ("x", 1.5, f"x: {AN_EXTENSION}, got 1.5; what is more goes into data."),
        ("x", {"a": "b" * 900}, f"x: {AN_EXTENSION}, got {{'a': '{'b' * 93}…; what is more goes into data."),
        ("x", [1], f"x: {AN_EXTENSION}, got [1]; what is more goes into data."),
        ("x", "a\tb", rf"x: {AN_EXTENSION}, got 'a\tb'; what is more goes into data."),
    ],
)  # fmt: skip
def test_a_bad_attribute_is_refused_by_its_name(name: str, value: Any, sentence: str) -> None:
    """With what was expected, and the value, shortened."""
    assert refusal(body(**{name: value})) == sentence


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31",  # no time of day
        "2026-01-31T02:00Z",  # no seconds
        "2026-01-31 02:00:00Z",  # a blank
        "2026-01-31T02:00:00",  # no zone
        "2026-01-31T02:00:00+0100",  # a zone without colon
        "2026-01-31T02:00:00+24:00",  # no zone of this world
        "2026-01-31T02:00:00+01:60",
        "2026-02-29T02:00:00Z",  # no such day
        "2026-01-31T24:00:00Z",  # nor hour
        "2026-01-31T23:60:00Z",  # nor minute
        "2026-01-31T23:59:61Z",  # nor second
        "2026-01-31T02:00:00,5Z",  # a comma
        "2026-W05-6T02:00:00Z",  # ISO 8601's other forms
        "20260131T020000Z",
        "\u0662026-01-31T02:00:00Z",  # other digits
        "2026-01-31T02:00:00Z\n",
        "1769824800",
        "",
    ],
)
def test_a_time_that_rfc_3339_does_not_have_is_refused(time: str) -> None:
    """Though Python may read it."""
    assert refusal(body(time=time)) == f"time: {A_TIME}, got {time!r}."


@pytest.mark.parametrize("value", [3, "a", None, True, 1.5])
def test_what_is_no_object_is_refused(value: Any) -> None:
    """Alone, and in a batch."""
    sentence = f"An event is a JSON object with specversion, id, source and type, got {value!r}."
    assert refusal(json.dumps(value).encode()) == sentence
    assert refusal(json.dumps([REQUIRED, value]).encode()) == f"[1] {sentence}"


def test_all_that_is_wrong_with_an_event_is_told_up_to_a_limit() -> None:
    """One sentence each."""
    assert (
        refusal(b"{}")
        == "specversion: field required. id: field required. source: field required. type: field required."
    )
    said = refusal(body(id=1, source=1, type=1, subject=1, time=1, dataschema=1))
    assert re.findall(r"(\w+): input", said) == ["id", "source", "type", "subject", "time"]


def test_a_refusal_is_short_whatever_was_sent() -> None:
    """It goes into logs and answers."""
    for value in ("x" * 10**6, ["x"] * 10**5, {"x": {"y": "z" * 10**6}}):
        for name in ("id", "source", "time", "datacontenttype", "specversion", "X"):
            assert len(refusal(body(**{name: value}))) < 300
        assert len(refusal(json.dumps([value]).encode())) < 300


# --- Batches and bodies


def test_a_batch_is_a_list_of_events_in_its_order() -> None:
    """Also of one, and of as many as it may have."""
    assert parse(b"[" + body() + b"]") == [parsed()]
    many = parse(json.dumps([{**REQUIRED, "id": str(n)} for n in range(MAX_BATCH)]).encode())
    assert isinstance(many, list)
    assert [event.id for event in many] == [str(n) for n in range(MAX_BATCH)]


@pytest.mark.parametrize(("count", "said"), [(0, "0"), (MAX_BATCH + 1, "1,001")])
def test_a_batch_of_none_or_too_many_is_refused(count: int, said: str) -> None:
    """An empty one is a mistake of the sender's; a large one would be answered too late."""
    assert refusal(json.dumps([REQUIRED] * count).encode()) == f"The batch has {said} events; expected 1 to 1,000."


def test_the_first_bad_event_of_a_batch_is_told_with_its_place() -> None:
    """Each of its sentences has it."""
    sent = [REQUIRED, {**REQUIRED, "id": "", "source": ""}, {}]
    assert refusal(json.dumps(sent).encode()) == (
        "[1] id: string should have at least 1 character, got ''. "
        "[1] source: string should have at least 1 character, got ''."
    )
    assert refusal(json.dumps([{**REQUIRED, "A": 1}]).encode()).startswith("[0] 'A' is no attribute")
    assert refusal(json.dumps([[]]).encode()).startswith("[0] An event is a JSON object")


def test_a_body_may_be_so_large_and_no_larger() -> None:
    """In bytes, before anything reads it."""
    largest = body() + b" " * (MAX_BYTES - len(body()))
    assert parse(largest) == parsed()
    assert refusal(largest + b" ") == "The body has 1,048,577 bytes; expected at most 1,048,576."


def test_a_body_that_is_no_json_is_refused_in_the_parsers_words() -> None:
    """test_strict_json.py has them all."""
    assert refusal(b"") == "The body is not JSON: expecting value in line 1, column 1."
    assert refusal(body()[:-1] + b', "id": "2"}').startswith("The body has the key 'id' twice")
