"""A message from a list: what kombu makes of it, made in a shorter way."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport import virtual

from switchyard.broker import reading

SLOTS = ("body", "headers", "properties", "delivery_tag", "delivery_info", "content_type", "content_encoding", "errors", "accept",
         "channel", "_raw", "_decoded_cache", "_state")  # fmt: skip


def payload(**changes: Any) -> dict[str, Any]:
    """As Celery publishes it, with changes; a name with two underscores is of the properties."""
    properties = {
        "body_encoding": "base64",
        "delivery_tag": "t",
        "delivery_info": {"exchange": "", "routing_key": "q"},
        "priority": 0,
    }
    message = {
        "body": base64.b64encode(b"[[1], {}, {}]").decode(), "content-type": "application/json", "content-encoding": "utf-8",
        "headers": {"id": "i", "task": "t"}, "properties": properties,
    }  # fmt: skip
    for name, value in changes.items():
        (properties if name.startswith("__") else message)[name.lstrip("_")] = value
    return message


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"body": ""}, {"body": None}, {"body": "[1]", "__body_encoding": None}, {"headers": {}}, {"headers": None},
        {"__delivery_info": None}, {"headers": {"compression": "application/x-gzip"}}, {"content-type": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_message_is_what_kombu_makes_of_it(changes: dict[str, Any]) -> None:
    """Each of its parts."""
    codecs = virtual.Channel.codecs
    channel = SimpleNamespace(decode_body=lambda body, kind: codecs[kind].decode(body) if kind else body)
    kombus, ours = (of(payload(**changes), channel=channel) for of in (virtual.Message, reading.Message))
    for slot in SLOTS[:-1] if ours.errors else SLOTS:
        if slot == "errors":
            assert len(ours.errors) == len(kombus.errors)
        else:
            assert getattr(ours, slot) == getattr(kombus, slot), slot


def test_a_body_that_is_no_base64_is_refused() -> None:
    """As by kombu, with a ValueError: the message is set aside."""
    for made in (virtual.Message, reading.Message):
        channel = SimpleNamespace(decode_body=lambda body, kind: virtual.Channel.codecs[kind].decode(body))
        with pytest.raises(ValueError, match="padding|base64"):
            made(payload(body="WzFd!!!x"), channel=channel)
