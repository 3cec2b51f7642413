"""Secrets in; a sentence for each that is an example's, and not yet a secret, out. Nothing starts with one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from switchyard.errors import ConfigError
from switchyard.settings import Settings

#: What examples say where a secret belongs, .env.example's own among them.
_PLACEHOLDER = re.compile(
    r"(change|replace)[-_ ]?me.*|(pass|test)(word|wd)?|secret|example|insecure.*|your[-_ ].*|x+|\*+|", re.IGNORECASE
)


def refuse(config: Settings) -> None:
    """Raises ConfigError naming every setting whose secret is a placeholder."""
    if found := list(sentences(config)):
        raise ConfigError("\n".join(found))


def sentences(config: Settings) -> Iterator[str]:
    """One for each. The value is not told: somebody may have taken it for a secret."""
    for name in ("celery_broker_url", "celery_result_backend"):
        url = getattr(config, name)
        # A server that wants no password is its owner's business; a user without one is not.
        if (
            url
            and "@" in url.get_secret_value()
            and is_placeholder(unquote(urlsplit(url.get_secret_value()).password or ""))
        ):
            yield f"{name.upper()}: its password is a placeholder. Put the real one there."
    given = config.flower_basic_auth
    if given and is_placeholder(given.get_secret_value().partition(":")[2]):
        yield "FLOWER_BASIC_AUTH: its password is a placeholder. Choose one, or leave it empty, and one is generated."
    for caller, token in _tokens(config):
        if is_placeholder(token):
            yield f"API_TOKENS_FILE: the token of {caller!r} is a placeholder. Make one: openssl rand -base64 32"


def is_placeholder(secret: str) -> bool:
    """Whether everybody could guess it."""
    return _PLACEHOLDER.fullmatch(secret.strip()) is not None


def _tokens(config: Settings) -> Iterator[tuple[str, str]]:
    try:
        lines = config.api_tokens_file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):  # made by `make up`, or refused by who reads it
        return
    for line in lines:
        caller, colon, token = line.strip().partition(":")
        if colon and not line.startswith("#"):
            yield caller, token
