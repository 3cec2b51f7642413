"""What a fan-out records of its origin, and where its messages go; Redis and the broker are stood in for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from structlog.contextvars import clear_contextvars

from switchyard.workflows import fan_out, publishing, record, sizing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUEUES = """
[reports.sales]
module = "shop.sales"
time_limit = 60
[queues.other_queue]
tasks = ["other"]
"""


def meta(**fields: Any) -> record.Meta:
    values: dict[str, Any] = {
        "id": "an-id", "name": "reports.sales", "state": "running", "each": "reports.sales.aggregate",
        "callback": "reports.sales.report", "chunks": 2, "chunk_size": 1, "total": 2, "concurrency": 1, "attempt": 3,
        "done": 0,
    }  # fmt: skip
    known = record.Meta.__dataclass_fields__
    return record.Meta(**dict.fromkeys(known) | values | fields)  # type: ignore[arg-type]


@pytest.fixture
def sent(config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """The messages that would be published: task, arguments, options."""
    (config_dir / "queues.toml").write_text(QUEUES)
    found: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    class App:
        def send_task(self, name: str, args: tuple[Any, ...] = (), **options: Any) -> None:
            found.append((name, args, options))

    monkeypatch.setattr(publishing, "current_app", App())
    return found


@pytest.fixture(autouse=True)
def nothing_bound() -> Iterator[None]:
    """A fan-out binds its id for the lines that follow it in its task; no other test's lines follow it."""
    yield
    clear_contextvars()


@pytest.fixture
def opened(sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The fields with which each workflow's record would be opened."""
    found: list[dict[str, str]] = []

    def run_script(name: str, _: list[str], args: list[Any]) -> Any:
        if name == "open":
            fields = args[3:]
            found.append(dict(zip(fields[::2], fields[1::2], strict=True)))
            return ["", "", ""]
        return 1

    monkeypatch.setattr(record, "run_script", run_script)
    monkeypatch.setattr(sizing, "item_seconds", lambda _: None)
    monkeypatch.setattr(record, "read", lambda id_: meta(id=id_, name=found[-1]["name"]))
    return found


@pytest.fixture
def app() -> Iterator[Celery]:
    """Tasks that run here and now."""
    made = Celery("shop", set_as_current=False)

    @made.task(name="reports.sales", shared=False)
    def start(*_: Any, workflow: str | None = None, **__: Any) -> str:
        return fan_out("reports.sales.aggregate", [1, 2], callback="reports.sales.report", workflow_id=workflow)

    yield made
    made.close()


@pytest.mark.parametrize(
    ("args", "kwargs", "arguments"),
    [
        # what it was called with, by name: a report's parameters
        ((), {"period": "2017-05", "top": 3}, {"period": "2017-05", "top": 3}),
        ((), {}, {}),
        # what was given by position has no name to be started again with
        ((1,), {"period": "2017-05"}, None),
    ],
)
def test_a_workflow_keeps_the_arguments_of_the_task_that_fans_it_out(
    app: Celery, opened: list[dict[str, str]], args: tuple[Any, ...], kwargs: dict[str, Any], arguments: Any
) -> None:
    """Also of one that the clock or an event has started: its report states them, and its sweep starts it again."""
    assert app.tasks["reports.sales"].apply(args, kwargs, task_id="an-id").get() == "an-id"
    (fields,) = opened
    assert (fields["name"], fields["each"]) == ("reports.sales", "reports.sales.aggregate")
    assert ("arguments" in fields) == (arguments is not None)
    assert json.loads(fields.get("arguments", "null")) == arguments


def test_a_workflow_with_an_id_of_its_own_keeps_no_arguments(app: Celery, opened: list[dict[str, str]]) -> None:
    """Started again under that id, its task would choose another one, and again and again."""
    app.tasks["reports.sales"].apply((), {"workflow": "chosen"}, task_id="an-id").get()
    assert "arguments" not in opened[0]
    app.tasks["reports.sales"].apply((), {"workflow": "an-id"}, task_id="an-id").get()
    assert json.loads(opened[1]["arguments"]) == {"workflow": "an-id"}


@pytest.mark.parametrize("called", ["directly", "outside"])
def test_a_workflow_without_a_task_has_no_arguments(app: Celery, opened: list[dict[str, str]], called: str) -> None:
    """A function that is called, and a program, cannot be started again by a message."""
    if called == "directly":
        app.tasks["reports.sales"](workflow="chosen")
    else:
        fan_out("reports.sales.aggregate", [1], callback="reports.sales.report", workflow_id="chosen")
    (fields,) = opened
    assert "arguments" not in fields
    assert fields["name"] == ("reports.sales" if called == "directly" else "reports.sales.aggregate")


# --- Where messages go


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        # a report is started in its report queue
        ("reports.sales", "sales_report_queue"),
        ("other", "other_queue"),
        # a task that nobody names
        ("anything", "default"),
    ],
)
def test_chunks_are_published_from_the_queue_of_the_task_that_fans_out(
    sent: list[tuple[str, tuple[Any, ...], dict[str, Any]]], name: str, queue: str
) -> None:
    """Another queue's long work never delays the start; the message has that queue's limit."""
    publishing.start(meta(name=name))
    ((task, args, options),) = sent
    assert (task, args) == ("switchyard.publish_chunks", ("an-id", 3))
    assert options["queue"].name == queue
    assert options["time_limit"] == (130 if queue == "sales_report_queue" else 610)


def test_a_fan_out_publishes_where_it_ran(
    app: Celery, opened: list[dict[str, str]], sent: list[tuple[str, tuple[Any, ...], dict[str, Any]]]
) -> None:
    """In one message, after all is stored."""
    app.tasks["reports.sales"].apply((), {}, task_id="an-id").get()
    assert [(name, options["queue"].name) for name, _, options in sent] == [
        ("switchyard.publish_chunks", "sales_report_queue")
    ]


def test_the_callback_is_called_in_its_own_queue(
    sent: list[tuple[str, tuple[Any, ...], dict[str, Any]]],
) -> None:
    """A report's artefact is made in its report queue, whatever queue recorded the last partition."""
    publishing.call_back(meta())
    assert [(name, options["queue"].name) for name, _, options in sent] == [
        ("switchyard.call_back", "sales_report_queue")
    ]


# --- What is chosen


@pytest.mark.parametrize(
    ("fields", "asked", "stream"),
    [
        # as an older version has recorded it, and a worker of this one finds it
        ({"chunk_size": "100", "concurrency": "16"}, 16, False),
        # what somebody has asked for
        ({"chunk_size": "10", "concurrency": "2", "chosen": "", "stream": "1"}, 2, True),
        # and what nobody has: the number is for a worker of an older version
        ({"chunk_size": "79", "concurrency": "16", "chosen": "1", "stream": ""}, None, False),
    ],
)
def test_a_record_says_how_many_items_run_at_once(fields: dict[str, str], asked: int | None, stream: bool) -> None:
    """One that is under way during an upgrade goes on as it began, on whichever version."""
    found = record.Meta.parse("an-id", {"state": "running", **fields})
    assert (found.asked, found.stream) == (asked, stream)


@pytest.mark.parametrize(
    ("items", "chosen", "size"),
    [
        # counted, or looked at
        (range(5000), {}, 79),
        (iter(range(5000)), {}, 79),
        # so many that they are not looked at to the end
        (iter(range(50_000)), {}, 157),
        ([], {}, 1),
        # or said
        (range(5000), {"chunk_size": 7}, 7),
    ],
)
def test_a_fan_out_stores_all_items_in_chunks_of_one_size(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch, config_dir: Path, items: Any, chosen: dict[str, int], size: int
) -> None:
    """Whatever was looked at to choose it is among them; no more than ten thousand are in one call, or in memory."""
    (config_dir / "queues.toml").write_text('[queues.default]\ntasks = ["*"]\npool = "gevent"\nconcurrency = 16\n')
    calls: list[list[Any]] = []

    def run_script(name: str, _: list[str], args: list[Any]) -> Any:
        if name == "items":
            calls.append(args[3:])
        return ["", "", ""] if name == "open" else 1

    monkeypatch.setattr(record, "run_script", run_script)
    monkeypatch.setattr(record, "read", lambda id_: meta(id=id_))
    monkeypatch.setattr(sizing, "item_seconds", lambda _: None)
    total = 50_000 if size == 157 else len(items) if not hasattr(items, "__next__") else 5000
    fan_out("each", items, callback="callback", workflow_id="an-id", **chosen)  # type: ignore[arg-type]
    chunks = [json.loads(chunk) for call in calls for chunk in call[4::2]]
    assert [item for chunk in chunks for item in chunk] == list(range(total))
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    assert all(sum(len(json.loads(chunk)) for chunk in call[4::2]) <= record.PAGE_ITEMS for call in calls)
    assert calls[-1] == [size, total, len(chunks)]
