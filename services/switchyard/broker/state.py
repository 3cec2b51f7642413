"""What waits in the broker, per queue: the one place that knows where kombu keeps it."""

from __future__ import annotations

from functools import cache

import redis

from switchyard.settings import settings


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings().broker_url(), socket_timeout=5, socket_connect_timeout=5)


def waiting(queue: str) -> int:
    """Messages that no worker has fetched yet. Raises redis' own errors while the broker is away."""
    return _client().llen(queue)
