"""An event in, what it starts out: by its type, its data, and the filters of its rules."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.transport.redis import Channel

from switchyard.broker.events_queue import PRIORITY_LISTS, events_queue
from switchyard.errors import EventRefused
from switchyard.events.config import EventConfig, Rule
from switchyard.events.event import Event
from switchyard.events.starting import Start, start_of
from switchyard.report import Report

REPORTS = {name: Report(name=name, module="shop.reports") for name in ("sales", "coupons")}


def event(type_: str, data: Any) -> Event:
    return Event(specversion="1.0", id="1", source="/shop", type=type_, data=data)


def started(data: Any, *tables: dict[str, Any], type_: str = "a") -> Start | None:
    """What an event with this data starts, its type's tables being these."""
    rules = tuple(Rule(**{"workflow": "w", **table}) for table in tables)
    return start_of(event(type_, data), EventConfig({"a": rules, "product.updated": ()}, ()), REPORTS)


def refusal(data: Any, *tables: dict[str, Any], type_: str = "a") -> str:
    with pytest.raises(EventRefused) as refused:
        started(data, *tables, type_=type_)
    return str(refused.value)


# --- Types


@pytest.mark.parametrize(
    ("type_", "sentence"),
    [
        # close to one, or to none
        ("product.update", "type: nothing waits for 'product.update'. Did you mean 'product.updated'?"),
        ("zzz", "type: nothing waits for 'zzz'. Expected one of: a, product.updated, report.requested."),
        ("A", "type: nothing waits for 'A'. Expected one of: a, product.updated, report.requested."),
        ("z" * 256, f"type: nothing waits for '{'z' * 99}…. Expected one of: a, product.updated, report.requested."),
    ],
)
def test_an_event_of_an_unknown_type_is_refused(type_: str, sentence: str) -> None:
    """It is not ignored: somebody waits for what it should start."""
    assert refusal({}, {}, type_=type_) == sentence


def test_an_event_that_no_filter_lets_through_is_ignored() -> None:
    """Its type is known, so nothing is wrong with it."""
    assert started({"n": 2}, {"when": {"n": 1}}) is None


# --- Parameters


@pytest.mark.parametrize(
    ("parameters", "data", "arguments"),
    [
        # none: the data stays where it is, whatever it is
        ({}, {"x": 1}, {}),
        ({}, None, {}),
        ({}, [1], {}),
        # a key, under another name, and keys in keys
        ({"x": "x"}, {"x": 1, "y": 2}, {"x": 1}),
        ({"x": "y"}, {"x": 1, "y": 2}, {"x": 2}),
        ({"x": "y.z.0"}, {"y": {"z": {"0": "deep"}}}, {"x": "deep"}),
        ({"x": "y", "z": "y.a"}, {"y": {"a": 1}}, {"x": {"a": 1}, "z": 1}),
        # any value, and null is one
        ({"x": "x"}, {"x": [{"a": None}]}, {"x": [{"a": None}]}),
        ({"x": "x"}, {"x": None}, {"x": None}),
        ({"x": "x?"}, {"x": None}, {"x": None}),
        ({"x": "x"}, {"x": False}, {"x": False}),
        # one that may be missing, at every level of it
        ({"x": "x?"}, {"x": 1}, {"x": 1}),
        ({"x": "x?"}, {}, {}),
        ({"x": "x?"}, None, {}),
        ({"x": "x?"}, "x", {}),
        ({"x": "y.z?"}, {"y": {"z": 1}}, {"x": 1}),
        ({"x": "y.z?"}, {"y": {}}, {}),
        ({"x": "y.z?"}, {"y": 3}, {}),
        ({"x": "y.z?"}, {}, {}),
    ],
)
def test_a_workflow_is_told_what_its_parameters_say(parameters: Any, data: Any, arguments: Any) -> None:
    """And nothing else of the data."""
    assert started(data, {"parameters": parameters}) == Start("w", arguments)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        # not there, at one level or another
        ("x", {}),
        ("x.y", {}),
        ("x.y", {"x": {}}),
        # through what is no object: null, a text, a list
        ("x.y", {"x": None}),
        ("x.y", {"x": "y"}),
        ("x.0", {"x": [1]}),
        # a key that has a dot is no key in a key
        ("x.y", {"x.y": 1}),
        # no data, or data that is no object
        ("x", None),
        ("x", [1]),
        ("x", "x"),
    ],
)
def test_an_event_that_lacks_a_parameter_is_refused(path: str, data: Any) -> None:
    """By the key of the data."""
    assert refusal(data, {"parameters": {"a": "b?", "p": path}}) == f"data.{path} is missing; w needs it."


# --- Filters


@pytest.mark.parametrize(
    ("when", "data", "fits"),
    [
        # a value
        ({"x": "a"}, {"x": "a", "y": 1}, True),
        ({"x": "a"}, {"x": "A"}, False),
        ({"x": 1}, {"x": 1.0}, True),
        ({"x": 1.5}, {"x": 1.5}, True),
        ({"x": 1}, {"x": "1"}, False),
        ({"x": ""}, {"x": ""}, True),
        # booleans are no numbers
        ({"x": True}, {"x": True}, True),
        ({"x": True}, {"x": 1}, False),
        ({"x": 1}, {"x": True}, False),
        ({"x": False}, {"x": 0}, False),
        ({"x": 0}, {"x": False}, False),
        ({"x": [0, True]}, {"x": 1}, False),
        ({"x": [1, False]}, {"x": 1}, True),
        # one of several
        ({"x": ["a", 2]}, {"x": 2}, True),
        ({"x": ["a", 2]}, {"x": "b"}, False),
        # a list in the data is no value of the filter's
        ({"x": ["a"]}, {"x": ["a"]}, False),
        # what is missing or null fits no filter
        ({"x": "a"}, {}, False),
        ({"x": False}, {}, False),
        ({"x": 0}, {"x": None}, False),
        ({"x": "a"}, None, False),
        # keys in keys
        ({"x.y": "a"}, {"x": {"y": "a"}}, True),
        ({"x.y": "a"}, {"x": {"y": {"y": "a"}}}, False),
        ({"x.y": "a"}, {"x.y": "a"}, False),
        # all of several filters
        ({"x": 1, "y": 2}, {"x": 1, "y": 2}, True),
        ({"x": 1, "y": 2}, {"x": 1, "y": 3}, False),
        # none at all
        ({}, None, True),
    ],
)
def test_a_filter_lets_through_what_has_its_values(when: Any, data: Any, fits: bool) -> None:
    """As JSON compares them."""
    assert (started(data, {"when": when}) is not None) == fits


def test_of_several_tables_the_first_that_fits_is_started() -> None:
    """With its own parameters; what the others would lack does not matter."""
    tables = (
        {"workflow": "one", "when": {"n": [1, 2]}, "parameters": {"a": "x"}},
        {"workflow": "two", "when": {"n": [2, 3]}, "parameters": {"b": "y"}},
        {"workflow": "rest"},
    )
    assert started({"n": 1, "x": 0}, *tables) == Start("one", {"a": 0})
    assert started({"n": 2, "x": 0, "y": 9}, *tables) == Start("one", {"a": 0})
    assert started({"n": 3, "y": 9}, *tables) == Start("two", {"b": 9})
    assert started({}, *tables) == Start("rest", {})
    assert refusal({"n": 2, "y": 9}, *tables) == "data.x is missing; one needs it."


# --- Reports


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        # without parameters, with none, with some
        ({"report": "sales"}, {}),
        ({"report": "sales", "parameters": {}}, {}),
        ({"report": "sales", "parameters": {"period": "2017-05", "top": 3}}, {"period": "2017-05", "top": 3}),
    ],
)
def test_a_report_is_started_with_its_parameters(data: Any, arguments: Any) -> None:
    """Which of them it takes is its module's to say."""
    assert started(data, type_="report.requested") == Start("reports.sales", arguments)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        # no report
        (None, "data.report is missing; it names the report. Expected one of: coupons, sales."),
        ("sales", "data.report is missing; it names the report. Expected one of: coupons, sales."),
        ({}, "data.report is missing; it names the report. Expected one of: coupons, sales."),
        # none of the reports
        ({"report": "sale"}, "data.report: there is no report 'sale'. Did you mean 'sales'?"),
        ({"report": None}, "data.report: there is no report None. Expected one of: coupons, sales."),
        ({"report": ["sales"]}, "data.report: there is no report ['sales']. Did you mean 'sales'?"),
        ({"report": "z" * 500}, f"data.report: there is no report '{'z' * 99}…. Expected one of: coupons, sales."),
        # parameters that are no object
        ({"report": "sales", "parameters": None}, "data.parameters: expected an object of parameters, got None."),
        ({"report": "sales", "parameters": [1]}, "data.parameters: expected an object of parameters, got [1]."),
        # parameters beside the object
        ({"report": "sales", "period": "2017-05", "zzz": 1},
         "data: unknown key 'period'; what the report is to be told goes into data.parameters."),
    ],
)  # fmt: skip
def test_a_bad_request_for_a_report_is_refused(data: Any, sentence: str) -> None:
    """By its key, with the reports that there are."""
    assert refusal(data, type_="report.requested") == sentence


# --- Where other applications publish them


def test_events_wait_in_one_durable_queue_that_takes_everything() -> None:
    """Whatever key they are published with."""
    queue = events_queue()
    assert (queue.name, queue.routing_key, queue.durable) == ("events", "#", True)
    assert (queue.exchange.name, queue.exchange.type, queue.exchange.durable) == ("events", "topic", True)


def test_every_list_is_known_that_a_stock_publisher_may_put_an_event_into() -> None:
    """kombu has one for each step of priority, under a name of its own making."""
    names = [f"events{Channel.sep}{step}" if step else "events" for step in Channel.priority_steps]
    assert list(PRIORITY_LISTS) == names
