"""What a dead letter's message asks for, as a person is shown it; in every form in which Celery writes one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from kombu import compression

from switchyard.broker import task_message


def raw(body: bytes, headers: dict[str, Any], content_type: str = "application/json", count: str = "") -> bytes:
    message = {
        "body": base64.b64encode(body).decode(), "content-encoding": "utf-8", "content-type": content_type, "headers": headers,
        "properties": {"delivery_info": {}, "body_encoding": "base64"},
    }  # fmt: skip
    return json.dumps(message).replace("{", "{" + count, 1).encode()


BODY = b'[[1, "\xc3\xa9"], {"a": {}}, {"callbacks": null, "chain": [{"task": "next"}]}]'


def test_arguments_and_what_comes_after_are_read() -> None:
    """What Celery would do nothing with is left out."""
    found = task_message.read(raw(BODY, {"id": "1", "task": "t"}))
    assert (found.args, found.kwargs, found.after) == ([1, "é"], {"a": {}}, {"chain": [{"task": "next"}]})
    assert found.headers == {"id": "1", "task": "t"}
    assert task_message.text(found.args) == '[1, "é"]'


def test_a_message_that_was_lost_before_or_is_compressed_is_read_as_well() -> None:
    body, kind = compression.compress(BODY, "zlib")
    found = task_message.read(raw(body, {"id": "1", "compression": kind}, count='"x-deliveries": 2, '))
    assert found.args == [1, "é"]


def test_a_message_of_the_first_protocol_is_read_as_well() -> None:
    """All of it is in its body, arguments included; none of these is among the headers, which are shown elsewhere."""
    body = json.dumps({"id": "1", "task": "t", "args": [1], "kwargs": {"token": "x"}, "callbacks": ["c"], "retries": 1})
    found = task_message.read(raw(body.encode(), {}))
    assert (found.args, found.kwargs, found.after) == ([1], {"token": "x"}, {"callbacks": ["c"]})
    assert found.headers["retries"] == 1
    assert "x" not in json.dumps({**found.headers, "args": None, "kwargs": None})


def test_of_another_format_only_the_type_is_known() -> None:
    """It is never read: to read a pickle is to run it."""
    found = task_message.read(raw(b"cos\nsystem\n(S'touch never'\ntR.", {"id": "1"}, "application/x-python-serialize"))
    assert (found.args, found.kwargs, found.content_type) == (None, None, "application/x-python-serialize")


@pytest.mark.parametrize(
    "message", [b"no json", b"[1]", b'{"headers": {}}', raw(b"[[1, {", {"id": "1"}), raw(b"[1]", {"id": "1"})]
)
def test_what_is_no_message_raises(message: bytes) -> None:
    """Whoever asks says so in words."""
    with pytest.raises(Exception, match=r".+"):
        task_message.read(message)
