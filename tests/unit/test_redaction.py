"""What a dead letter shows of its arguments: everything but the values of keys that sound like secrets."""

from __future__ import annotations

import pytest

from switchyard.redaction import names, redacted
from switchyard.settings import Settings

DEFAULT = names(Settings.model_fields["redacted_arguments"].default)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # a key that is one of the names, or contains one, in whatever case
        ({"password": "x"}, {"password": "…"}),
        ({"DB_Password2": "x", "X-Authorization": 1}, {"DB_Password2": "…", "X-Authorization": "…"}),
        ({"api_key": ["a", "b"], "secrets": {"a": 1}}, {"api_key": "…", "secrets": "…"}),
        # at any depth, of dicts and of lists
        ({"a": [{"b": ({"token": "x", "c": 1},)}]}, {"a": [{"b": [{"token": "…", "c": 1}]}]}),
        # what has no key is shown as it is
        (["password", 1, None, {"user": "token"}], ["password", 1, None, {"user": "token"}]),
        ("password", "password"),
        # a key need not be text
        ({1: {"Token": 2}}, {1: {"Token": "…"}}),
    ],
)
def test_the_values_of_keys_that_sound_like_secrets_are_not_shown(value: object, expected: object) -> None:
    assert redacted(value, DEFAULT) == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("a,B", ("a", "b")), (" a , ,b,", ("a", "b")), ("Straße", ("strasse",)), (",", ())],
)
def test_names_are_separated_by_commas(setting: str, expected: tuple[str, ...]) -> None:
    """Blanks and empty ones count for nothing: an empty name would be part of every key."""
    assert names(setting) == expected


def test_with_no_names_everything_is_shown() -> None:
    assert redacted({"password": "x"}, names(",")) == {"password": "x"}
