"""Events that could not be taken, kept with the reason until somebody has mended it, and sent again or dropped."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from switchyard.workflows import record

#: A list, newest first. Nothing in it expires: what was sent and is lost is worse than what must be cleared.
REFUSED = "switchyard:refused"


@dataclass(frozen=True)
class Refused:
    """One message as it came, why it was refused, and when (seconds since the epoch)."""

    body: bytes
    reason: str
    at: float


def keep(body: bytes, reason: str) -> None:
    """Keep a message. Raises redis' own errors; then it is still where it came from."""
    client = record.client()
    entry = {"body": base64.b64encode(body).decode(), "reason": reason, "at": client.time()[0]}
    client.lpush(REFUSED, json.dumps(entry))


def count() -> int:
    """How many are kept."""
    return record.client().llen(REFUSED)


def kept() -> Iterator[Refused]:
    """All of them, newest first."""
    # Counted from the oldest, so that what comes meanwhile moves nothing; one at a time, for each may be large.
    for place in range(-count(), 0):
        if entry := cast("str | None", record.client().lindex(REFUSED, place)):
            yield _parsed(entry)


def oldest() -> Refused | None:
    """The one that `take_oldest` would remove; None if there is none."""
    entry = cast("str | None", record.client().lindex(REFUSED, -1))
    return _parsed(entry) if entry else None


def take_oldest() -> Refused | None:
    """Remove the oldest and return it; None if there is none."""
    entry = cast("str | None", record.client().rpop(REFUSED))
    return _parsed(entry) if entry else None


def _parsed(entry: str) -> Refused:
    found: dict[str, Any] = json.loads(entry)
    return Refused(base64.b64decode(found["body"]), found["reason"], found["at"])
