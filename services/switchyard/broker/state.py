"""What is in the broker, per queue: the one place that knows where kombu and the leased transport keep it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import cast

import redis
from kombu.utils.json import loads
from redis.backoff import NoBackoff
from redis.retry import Retry

from switchyard.broker import scripts
from switchyard.hooks import PUBLISHED
from switchyard.settings import settings

#: kombu's hash of what was fetched and is not acknowledged: a tag -> [message, exchange, routing key] as JSON.
UNACKED = "unacked"


@dataclass(frozen=True)
class QueueState:
    """What a queue has: messages that wait, messages that its workers hold (running or reserved), messages that are not due yet,
    how many seconds ago the one that waits longest was published (None: nothing waits, or its publisher did not say), and workers
    that consume it.
    """

    waiting: int
    in_flight: int
    delayed: int
    oldest_s: float | None
    consumers: int


@cache
def client() -> redis.Redis:
    """This process' client of the broker; values are bytes. Asked again only over a connection that the server has closed meanwhile:
    a worker's consumer may be waiting.
    """
    once = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(settings().broker_url(), socket_timeout=5, socket_connect_timeout=5, retry=once)


def is_revoked(task_id: str) -> bool:
    """Whether somebody has revoked this task; its workers would drop its message. Raises redis' own errors."""
    return client().zscore(scripts.REVOKED, task_id) is not None


def of_queues(queues: Iterable[str]) -> dict[str, QueueState]:
    """The state of these queues, in one round trip whose cost does not depend on how long they are.

    What is in flight, and who consumes, is what workers of the leased transport say with each renewal. Raises redis' own errors
    while the broker is away.
    """
    names = list(queues)
    pipe = client().pipeline(transaction=False)
    pipe.time()
    pipe.hgetall(scripts.WORKERS)
    pipe.hgetall(scripts.DELAYED_COUNTS)
    for name in names:
        pipe.llen(name)
        pipe.lindex(name, -1)
    (seconds, microseconds), workers, delayed, *rest = pipe.execute()
    now = seconds + microseconds / 1e6
    said = _said(workers, now)
    return {
        name: QueueState(
            waiting=rest[2 * position],
            in_flight=sum(worker.get(name, 0) for worker in said),
            delayed=int(delayed.get(name.encode(), 0)),
            oldest_s=_age(rest[2 * position + 1], now),
            consumers=sum(name in worker for worker in said),
        )
        for position, name in enumerate(names)
    }


def leased_workers() -> int:
    """How many workers of the leased transport consume something. Raises redis' own errors while the broker is away."""
    seconds, _ = client().time()
    return len(_said(cast("dict[bytes, bytes]", client().hgetall(scripts.WORKERS)), seconds))


def _said(workers: dict[bytes, bytes], now: float) -> list[dict[str, int]]:
    """Of each worker that lives what it holds of the queues it consumes."""
    return [loads(text) for at, text in map(_split, workers.values()) if float(at) > now - settings().broker_lease]


def _split(noted: bytes) -> tuple[bytes, bytes]:
    at, _, said = noted.partition(b" ")
    return at, said


def _age(message: bytes | None, now: float) -> float | None:
    try:
        return max(0.0, now - float(loads(message)["headers"][PUBLISHED])) if message else None
    except (ValueError, KeyError, TypeError):  # a stock publisher's, or nothing that anybody can read
        return None


def waiting(queue: str) -> int:
    """Messages that no worker has fetched yet. Raises redis' own errors while the broker is away."""
    return client().llen(queue)


def held(queues: Iterable[str]) -> dict[str, int]:
    """Messages that workers have fetched and not acknowledged, also those of workers that are gone, per queue.

    Reads all of them, of every queue. Raises redis' own errors while the broker is away.
    """
    found: Counter[str] = Counter()
    for _, entry in cast("Iterable[tuple[bytes, bytes]]", client().hscan_iter(UNACKED)):
        try:
            _, exchange, routing_key = loads(entry)
        except ValueError:  # nothing that a worker can read; it is about to be set aside
            continue
        # By the queue it lay in; a stock worker notes the exchange, which of ours has the queue's name.
        found[exchange or routing_key] += 1
    return {queue: found[queue] for queue in queues}
