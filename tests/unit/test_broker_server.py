"""What servers answer to HELLO, and which of them the leased transport refuses. No network."""

from __future__ import annotations

from typing import Any

import pytest

from switchyard.broker.server import check_server
from switchyard.errors import ConfigError

OTHERWISE = "; or set BROKER_TRANSPORT=stock, with kombu's own rules of delivery."


def hello(**said: Any) -> dict[Any, Any]:
    """What Redis 7 answers, but for `said`; None leaves a key out."""
    answer = {"server": "redis", "version": "7.2.4", "proto": 3, "id": 5, "mode": "standalone", "role": "master",
              "modules": [], **said}  # fmt: skip
    return {key: value for key, value in answer.items() if value is not None}


def refusal(answer: dict[Any, Any] | None) -> str:
    with pytest.raises(ConfigError) as raised:
        check_server(answer)
    assert str(raised.value).endswith(OTHERWISE)
    return str(raised.value)


@pytest.mark.parametrize(
    ("server", "version"),
    [
        # Redis from 6.2 on
        ("redis", "6.2.0"),
        ("redis", "6.2.14"),
        ("redis", "7.0.15"),
        ("redis", "8.2.1"),
        ("redis", "10.0.0"),
        # Valkey, whose numbers begin at 7.2
        ("valkey", "7.2.5"),
        ("valkey", "8.1.1"),
        # odd, and new enough
        ("redis", "255.255.255"),
        ("redis", "7.4.0-v1"),
        ("redis", "8"),
        ("redis", "7.0-rc1"),
    ],
)
def test_a_server_that_has_what_leases_need_is_taken(server: str, version: str) -> None:
    """With text as redis-py may give it, or as it came."""
    answer = hello(server=server, version=version)
    check_server(answer)
    as_it_came = {key.encode(): value.encode() if isinstance(value, str) else value for key, value in answer.items()}
    check_server(as_it_came)


def test_a_server_that_does_not_say_its_mode_is_taken() -> None:
    """Some in front of a Redis leave it out."""
    check_server(hello(mode=None))


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        # no RPOP with a count
        (hello(version="6.0.16"), "The broker is redis 6.0.16;"),
        (hello(version="5.0.7"), "The broker is redis 5.0.7;"),
        # RESP2: no pushes
        (hello(proto=2), "The broker is redis 7.2.4;"),
        (hello(proto=None), "The broker is redis 7.2.4;"),
        # nothing that says what it is
        (hello(version=None), "The broker is redis 0;"),
        (hello(version=""), "The broker is redis ;"),
        (hello(version="unstable"), "The broker is redis unstable;"),
        ({}, "The broker is a server 0;"),
        (None, "The broker is a server 0;"),
    ],
)
def test_a_server_that_is_too_old_or_speaks_too_little_is_refused(answer: dict[str, Any] | None, named: str) -> None:
    """By its name and version, with what is needed and the way out."""
    said = refusal(answer)
    assert said.startswith(named)
    assert "leases need Redis 6.2 or Valkey 7.2 at least" in said


@pytest.mark.parametrize("mode", ["cluster", "sentinel"])
def test_a_server_that_is_one_of_several_is_refused(mode: str) -> None:
    """All keys of a script must be in one server, and a sentinel has none."""
    said = refusal(hello(mode=mode))
    assert said.startswith(f"The broker is in {mode} mode; leases need one server with all keys")
