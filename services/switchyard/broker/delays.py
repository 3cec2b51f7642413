"""Messages that are not due yet (countdown, eta, retries): they wait in Redis, in no worker's memory, and whoever lives gives
them back to their queue when they are due.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from kombu.transport import redis
from kombu.utils.json import loads

from switchyard.broker import scripts, state
from switchyard.broker.keeper import LONGEST
from switchyard.errors import SwitchyardError

#: Celery holds what is due sooner: it may be due before any keeper looks again.
SOON_S = LONGEST
#: The last second of which there is a date: an eta may be one in another time zone.
_LAST = 253402300799.0
#: Entries moved or read in one round trip.
_PAGE = 500


def due(message: dict[str, Any], now: float) -> float | None:
    """When a message is due that is to wait in Redis, in seconds since 1970; None for one that a worker may have.

    `now` is the server's time. An eta without a time zone is in UTC, as for Celery, which also says what is wrong with another.
    """
    eta = message["headers"].get("eta")
    try:
        at = datetime.fromisoformat(eta) if eta else None
    except (TypeError, ValueError):
        return None
    if at is None:
        return None
    seconds = min((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp(), _LAST)
    return seconds if seconds > now + SOON_S else None


@dataclass(frozen=True)
class Delayed:
    """A message that waits: when it is due (seconds since 1970, by Redis' clock), its queue, its task and that one's id."""

    due: float
    queue: str
    task: str
    task_id: str


def kept() -> Iterator[Delayed]:
    """Each, the next one first. What is given back meanwhile may be missing. Raises redis' own errors, as all here do."""
    client, start = state.client(), 0
    while page := cast(
        "list[tuple[bytes, float]]", client.zrange(scripts.DELAYED, start, start + _PAGE - 1, withscores=True)
    ):
        entries = cast("list[bytes | None]", client.hmget(scripts.DELAYED_ENTRIES, [tag for tag, _ in page]))
        for (_, at), entry in zip(page, entries, strict=True):
            if entry:
                message, _, queue = loads(entry)
                headers = message.get("headers") or {}
                yield Delayed(at, queue, str(headers.get("task", "?")), str(headers.get("id", "?")))
        start += _PAGE


def count() -> int:
    """How many wait."""
    return int(state.client().zcard(scripts.DELAYED))


def release() -> int:
    """Give all of them back to their queues, as stock workers need them, which hold them in memory until they are due; returns how
    many. Raises SwitchyardError while a leased worker consumes: it would only delay them anew.
    """
    if workers := state.leased_workers():
        raise SwitchyardError(
            f"{workers} workers of the leased transport consume, and would delay them anew. "
            "Set BROKER_TRANSPORT=stock in .env and say `make up`; then release them."
        )
    client, before = state.client(), count()
    keys = (state.UNACKED, scripts.DEAD_LETTERS, scripts.DELAYED, scripts.DELAYED_ENTRIES, scripts.DELAYED_COUNTS)
    while client.eval(scripts.RELEASE, len(keys), *keys, "", redis.Channel.sep, "0", _PAGE):
        pass
    return before
