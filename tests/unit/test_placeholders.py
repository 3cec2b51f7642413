"""Secrets that are an example's: each is refused by the name of its setting, and real ones are not mistaken for them."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from switchyard.errors import ConfigError
from switchyard.runtime import placeholders
from switchyard.settings import ROOT, Settings

pytestmark = pytest.mark.usefixtures("own_environment")

BROKER = "CELERY_BROKER_URL: its password is a placeholder. Put the real one there."
BACKEND = "CELERY_RESULT_BACKEND: its password is a placeholder. Put the real one there."
FLOWER = "FLOWER_BASIC_AUTH: its password is a placeholder. Choose one, or leave it empty, and one is generated."


@pytest.mark.parametrize(
    "secret",
    [
        "change-me", "changeme", "CHANGE_ME", "Change me", "changeme123", "replace-me", "password", "passwd", "pass", "test",
        "secret", "example", "insecure-key", "your-password", "your_token", "xxx", "X", "***", "", "  ", " password ",
    ],
)  # fmt: skip
def test_what_everybody_could_guess_is_a_placeholder(secret: str) -> None:
    """However it is written."""
    assert placeholders.is_placeholder(secret)


@pytest.mark.parametrize(
    "secret",
    [
        # somebody's choice, good or not: it is no example's
        "hunter2", "correct horse battery staple", "passwordless", "my-secret", "testament", "changing-me", "yourself", "x1",
        "no-example",
    ],
)  # fmt: skip
def test_what_somebody_chose_is_none(secret: str) -> None:
    """A word of those inside of it is not the whole."""
    assert not placeholders.is_placeholder(secret)


def test_what_is_generated_is_none() -> None:
    """Whatever it is made of."""
    assert not any(placeholders.is_placeholder(secrets.token_urlsafe(n)) for n in range(8, 64))


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        # of a URL only its password; one that is encoded is what it stands for
        ("CELERY_BROKER_URL", "redis://:password@redis.example/0", [BROKER]),
        ("CELERY_BROKER_URL", "redis://me:change%2Dme@redis.example/0", [BROKER]),
        ("CELERY_RESULT_BACKEND", "redis://:secret@redis.example/1", [BACKEND]),
        ("CELERY_BROKER_URL", "redis://password:r3al@example/0", []),
        # a user and no password; a server that wants neither is its owner's business
        ("CELERY_BROKER_URL", "redis://me@redis.example/0", [BROKER]),
        ("CELERY_BROKER_URL", "redis://redis.example/0", []),
        # Flower's, of which the user's name is no secret
        ("FLOWER_BASIC_AUTH", "admin:change-me", [FLOWER]),
        ("FLOWER_BASIC_AUTH", "admin", [FLOWER]),
        ("FLOWER_BASIC_AUTH", "admin:r3al:password", []),
    ],
)
def test_a_placeholder_is_told_by_its_setting(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, expected: list[str]
) -> None:
    """And the secret is not in the sentence."""
    monkeypatch.setenv(setting, value)
    assert list(placeholders.sentences(Settings.load())) == expected


@pytest.mark.parametrize(
    ("content", "callers"),
    [
        (b"shop:change-me\nerp:x\nlocal:r3al-t0ken\n", ["shop", "erp"]),
        # no tokens: a comment, a line without one, nothing
        (b"# shop:change-me\n\nshop\n", []),
        # what is no text is refused by who reads it
        (b"\xff\xfe", []),
        (None, []),
    ],
)
def test_a_token_is_told_by_its_caller(tmp_path: Path, content: bytes | None, callers: list[str]) -> None:
    """Each of them; a file that is not there is made by `make up`."""
    file = tmp_path / "state" / "secrets" / "api_tokens"
    file.parent.mkdir()
    if content is not None:
        file.write_bytes(content)
    said = list(placeholders.sentences(Settings.load()))
    assert [re.findall("'(.*)'", sentence) for sentence in said] == [[caller] for caller in callers]
    assert all(sentence.startswith("API_TOKENS_FILE: the token of ") for sentence in said)


def test_all_of_them_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of mending."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:x@a/0")
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "admin:secret")
    with pytest.raises(ConfigError) as said:
        placeholders.refuse(Settings.load())
    assert str(said.value).splitlines() == [BROKER, FLOWER]


def test_a_deployment_without_a_secret_of_ones_own_is_not_refused() -> None:
    """`make up` generates them."""
    placeholders.refuse(Settings.load())


def test_what_the_example_shows_is_refused(own_environment: Path) -> None:
    """Whoever takes the # away has still to choose."""
    text = (ROOT / ".env.example").read_text()
    own_environment.write_text(re.sub(r"^#(CELERY_|FLOWER_BASIC)", r"\1", text, flags=re.MULTILINE))
    assert list(placeholders.sentences(Settings.load())) == [BROKER, BACKEND, FLOWER]
