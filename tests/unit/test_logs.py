"""Log lines of every process: events with keys in JSON, nothing secret in them, Celery's own the same way."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from switchyard import hooks, logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

URL = "redis://:hush@127.0.0.1:6380/0"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """What a process would write that logs as ours do; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def log(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A logger of a process that was configured so."""

    def configured(log_format: str = "json", level: str = "DEBUG", **bound: str) -> Any:
        # Here and not in a fixture: pytest takes standard output and the root logger back before the test itself runs.
        monkeypatch.setattr(sys, "stdout", out)
        if not any(getattr(handler, "stream", None) is out for handler in logging.getLogger().handlers):
            logging.getLogger().handlers[:] = []  # basicConfig(force=True) would close pytest's own
        logs.configure(log_format, level, **bound)
        return structlog.stdlib.get_logger("shop.tasks")

    return configured


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_event_and_keys(log: Callable[..., Any], out: io.StringIO) -> None:
    """Time, level and logger included; what JSON has no form for becomes text."""
    log().info("report_stored", rows=12, path=io)
    (line,) = lines(out)
    assert (line["event"], line["rows"], line["level"], line["logger"]) == ("report_stored", 12, "info", "shop.tasks")
    assert line["timestamp"].endswith("Z")
    assert "module 'io'" in line["path"]


def test_keys_of_the_process_and_ids_of_the_corridor_are_on_every_line(
    log: Callable[..., Any], out: io.StringIO
) -> None:
    """On ours and on those of any library; the ids end with their block."""
    logger = log(queue="sales_queue")
    with bound_contextvars(workflow_id="w", event_id="e"):
        logger.info("a")
        logging.getLogger("somebody.else").warning("b %s", 1)
    logger.info("c")
    ours, theirs, after = lines(out)
    for line in (ours, theirs):
        assert (line["queue"], line["workflow_id"], line["event_id"]) == ("sales_queue", "w", "e")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("b 1", "somebody.else", "warning")
    assert after["queue"] == "sales_queue"
    assert "workflow_id" not in after


def test_lines_below_the_level_are_not_written(log: Callable[..., Any], out: io.StringIO) -> None:
    """Ours and others' alike."""
    logger = log(level="WARNING")
    logger.info("a")
    logging.getLogger("somebody.else").info("b")
    logger.warning("c")
    assert [line["event"] for line in lines(out)] == ["c"]


def test_configuring_again_replaces_what_was(log: Callable[..., Any], out: io.StringIO) -> None:
    """Not two lines for one event."""
    log()
    log().info("once")
    assert [line["event"] for line in lines(out)] == ["once"]


# --- Redaction


@pytest.mark.parametrize(
    "key",
    [
        "password", "redis_password", "PASSWORD", "passwd", "secret", "client_secret", "token", "access_token",
        "Authorization", "api_key", "apikey", "credentials", "flower_basic_auth",
    ],
)  # fmt: skip
def test_the_value_of_a_secret_key_is_hidden_at_any_depth(log: Callable[..., Any], out: io.StringIO, key: str) -> None:
    """At the top, in tables, in lists of tables; the keys beside it stay."""
    log().info(
        "a", **{key: "hush"}, table={"x": {key: "hush", "y": 1}}, rows=[{key: ["hush"]}], pair=({key: "hush"}, 2)
    )
    (line,) = lines(out)
    assert "hush" not in out.getvalue()
    assert line[key] == line["table"]["x"][key] == line["rows"][0][key] == line["pair"][0][key] == logs.HIDDEN
    assert (line["table"]["x"]["y"], line["pair"][1]) == (1, 2)


class Address:
    """A thing whose text is a URL, as clients' and errors' are."""

    def __str__(self) -> str:
        return URL


@pytest.mark.parametrize(
    "value",
    [
        URL,
        # in the middle of a sentence, and twice in one
        f"cannot reach {URL}.",
        f"{URL} and postgresql://me:hush@host/db",
        # at any depth
        {"a": [URL]},
        (URL,),
        {URL},
        # in what only becomes text when it is written
        Address(),
        ConnectionError(f"cannot reach {URL}"),
        {"a": Address()},
        {("a", 1): URL},
    ],
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_the_password_in_a_url_is_hidden(
    log: Callable[..., Any], out: io.StringIO, value: Any, log_format: str
) -> None:
    """Whatever the value is; host and database stay, for whoever reads the log."""
    log(log_format).info("a", value=value)
    assert "hush" not in out.getvalue()
    assert "127.0.0.1:6380/0" in out.getvalue()


@pytest.mark.parametrize("value", [1, 1.5, True, None, "http://127.0.0.1:8001/a?b=c:d@e", "a:b@c", ""])
def test_what_is_no_secret_is_left_as_it_is(log: Callable[..., Any], out: io.StringIO, value: Any) -> None:
    """Of the same type, too."""
    log().info("a", value=value)
    assert lines(out)[0]["value"] == value


def test_an_event_itself_may_hold_a_url(log: Callable[..., Any], out: io.StringIO) -> None:
    """Celery says 'Connected to redis://…' in its own words."""
    log()
    logging.getLogger("celery.worker").info("Connected to %s", URL)
    assert lines(out)[0]["event"] == "Connected to redis://:***@127.0.0.1:6380/0"


# --- Exceptions


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_an_exception_is_written_with_its_traceback_and_without_its_secrets(
    log: Callable[..., Any], out: io.StringIO, log_format: str, whose: str
) -> None:
    """From our lines and from any library's, in both formats."""
    logger = log(log_format) if whose == "ours" else (log(log_format), logging.getLogger("somebody.else"))[1]
    try:
        raise ConnectionError(f"cannot reach {URL}")
    except ConnectionError:
        logger.exception("task_failed")
    text = out.getvalue()
    assert "Traceback (most recent call last)" in text
    assert "ConnectionError: cannot reach redis://:***@127.0.0.1:6380/0" in text
    assert "hush" not in text
    if log_format == "json":
        (line,) = lines(out)
        assert line["event"] == "task_failed"
        assert "Traceback" in line["exception"]


def test_an_exception_handed_over_later_is_written_too(log: Callable[..., Any], out: io.StringIO) -> None:
    """`exc_info=exc`, outside the block that caught it."""
    caught = None
    try:
        raise ValueError("the reason")
    except ValueError as exc:
        caught = exc
    log().warning("item_raised", exc_info=caught)
    assert "ValueError: the reason" in lines(out)[0]["exception"]


# --- Formats


@pytest.mark.parametrize(
    ("log_format", "terminal", "json_lines"),
    [
        # asked for, whatever the output is
        ("json", True, True),
        ("console", False, False),
        # else by what the output is
        ("auto", False, True),
        ("auto", True, False),
    ],
)
def test_the_format_is_as_asked_or_as_the_output_is(
    log: Callable[..., Any], out: io.StringIO, log_format: str, terminal: bool, json_lines: bool
) -> None:
    """Colour belongs on a terminal only."""
    out.isatty = lambda: terminal  # type: ignore[method-assign]
    log(log_format).info("report_stored", rows=12)
    text = out.getvalue()
    assert text.startswith("{") == json_lines
    assert "report_stored" in text
    assert ("\x1b[" in text) == (terminal and not json_lines)


# --- Celery

CELERYS_LINES = """
from celery import Celery
from celery.utils.log import get_task_logger
import logging
app = Celery("somebody")
app.config_from_object("switchyard.celeryconfig")
app.log.setup(loglevel=logging.INFO, redirect_stdouts=app.conf.worker_redirect_stdouts)
logging.getLogger("celery.worker.consumer").info("Connected to %s", app.conf.broker_url)
get_task_logger("shop.tasks").warning("slow")
logging.getLogger("celery.app.trace").debug("not shown")
print("plain")
"""


def test_celerys_own_lines_go_the_same_way(python: Callable[..., str], config_dir: Path) -> None:
    """A worker's logging is ours from its start; Celery sets up no handler beside it and wraps no output."""
    (config_dir / "queues.toml").write_text("")
    *written, plain = python(CELERYS_LINES, QUEUE="default").splitlines()
    connected, slow = (json.loads(line) for line in written)
    assert connected["event"] == "Connected to redis://:***@127.0.0.1:1/0"
    assert (connected["logger"], connected["queue"]) == ("celery.worker.consumer", "default")
    assert (slow["event"], slow["level"]) == ("slow", "warning")
    assert plain == "plain"


# --- The corridor's ids from message to message


class Request:
    switchyard = {"workflow_id": "w", "event_id": "e", "attempt": 2}


class Task:
    name = "sales.report"
    request = Request


def test_a_message_carries_the_ids_of_whoever_publishes_it() -> None:
    """Only the corridor's, and never over what a header says already."""
    headers: dict[str, Any] = {}
    with bound_contextvars(workflow_id="w", event_id="e", rows=3):
        hooks._send_along(headers=headers)
        hooks._send_along(headers=(said := {hooks.HEADER: {"event_id": "first"}}))
    assert headers[hooks.HEADER] == {"workflow_id": "w", "event_id": "e"}
    assert said[hooks.HEADER] == {"event_id": "first"}


def test_a_message_of_nobodys_carries_only_when_it_was_published() -> None:
    """Which nobody overwrites who sends it on."""
    headers: dict[str, Any] = {}
    hooks._send_along(headers=headers)
    assert headers.keys() == {hooks.PUBLISHED}
    before = dict(headers)
    hooks._send_along(headers=headers)
    assert headers == before


def test_a_tasks_lines_carry_its_messages_ids_until_it_has_ended(log: Callable[..., Any], out: io.StringIO) -> None:
    """Bound before it runs, gone after: the next task's lines are its own."""
    logger = log()
    hooks._bind_ids(task_id="t", task=Task)
    logger.info("inside")
    hooks._unbind_ids(task=Task)
    logger.info("after")
    inside, after = lines(out)
    for key, value in {
        "task_id": "t",
        "task": "sales.report",
        "workflow_id": "w",
        "event_id": "e",
        "attempt": 2,
    }.items():
        assert inside[key] == value
        assert key not in after
