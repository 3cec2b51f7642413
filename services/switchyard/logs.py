"""structlog for every process: events with keys, JSON in files and colour on a terminal; Celery's own lines go the same way."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import Processor

#: A key with one of these words in it never shows its value.
SECRET_WORDS = re.compile(r"password|passwd|secret|token|authorization|api_?key|credential|basic_auth", re.IGNORECASE)
HIDDEN = "***"
_URL_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):([^@/\s]+)@")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines are `log.info("event_in_past_tense", key=value)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide the values of secret keys and the passwords in URLs, at any depth."""
    return {key: HIDDEN if _is_secret(key) else _redacted(value) for key, value in event.items()}


@lru_cache(maxsize=1024)  # the same few keys are on every line
def _is_secret(key: str) -> bool:
    return SECRET_WORDS.search(key) is not None


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", value) if "://" in value else value
    if isinstance(value, dict):
        return {str(k): HIDDEN if _is_secret(str(k)) else _redacted(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    # An exception or a URL object becomes text here, where what is in it can still be hidden.
    return value if value is None or isinstance(value, bool | int | float) else _redacted(str(value))


SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(log_format: str, level: str, **bound: str) -> None:
    """Send every line of this process to standard output. `bound` keys are on each of them, such as queue=."""
    console = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=SHARED, processors=_final(console, bound))
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)


def _final(console: bool, bound: dict[str, str]) -> list[Processor]:  # noqa: FBT001  private, one caller
    def add_bound(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**bound, **event}

    # Tracebacks become text before anything is hidden: exceptions quote URLs, too.
    clean: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, add_bound,
                              structlog.processors.format_exc_info, redact]  # fmt: skip
    if console:
        plain = structlog.dev.plain_traceback
        return [*clean, structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=plain)]
    # `json.dumps` would make this encoder anew for each line.
    encode = json.JSONEncoder(default=str).encode
    return [*clean, structlog.processors.JSONRenderer(serializer=lambda event, **_: encode(event))]
