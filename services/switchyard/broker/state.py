"""What is in the broker, per queue: the one place that knows where kombu keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import cast

import redis
from kombu.utils.json import loads

from switchyard.settings import settings

#: kombu's hash of what was fetched and is not acknowledged: a tag -> [message, exchange, routing key] as JSON.
UNACKED = "unacked"


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings().broker_url(), socket_timeout=5, socket_connect_timeout=5)


def waiting(queue: str) -> int:
    """Messages that no worker has fetched yet. Raises redis' own errors while the broker is away."""
    return _client().llen(queue)


def held(queues: Iterable[str]) -> dict[str, int]:
    """Messages that workers have fetched and not acknowledged, running, reserved or delayed (`eta`, `countdown`), per queue.

    Reads all of them, of every queue. Raises redis' own errors while the broker is away.
    """
    found: Counter[str] = Counter()
    for _, entry in cast("Iterable[tuple[bytes, bytes]]", _client().hscan_iter(UNACKED)):
        _, exchange, routing_key = loads(entry)
        # By the queue it lay in; a stock worker notes the exchange, which of ours has the queue's name.
        found[exchange or routing_key] += 1
    return {queue: found[queue] for queue in queues}
