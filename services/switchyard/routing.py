"""Which queue takes a task, for every publisher: queues.toml is read again when it changes, so a new queue needs no restart."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from kombu import Exchange
from kombu import Queue as KombuQueue

from switchyard import queues
from switchyard.errors import ConfigError
from switchyard.logs import get_logger
from switchyard.queue import DEFAULT_QUEUE
from switchyard.settings import settings

if TYPE_CHECKING:
    from switchyard.queues import Queues

#: The default queue's exchange and key; a topic exchange, so that a fork can bind more to it.
DEFAULT_EXCHANGE_TYPE = "topic"
DEFAULT_ROUTING_KEY = "task.default"

log = get_logger(__name__)
_read: tuple[tuple[int, ...], Queues] | None = None


def current_queues() -> Queues:
    """The queues as queues.toml has them now. Raises ConfigError if they never were readable.

    A process that has read them once keeps that state while the file is broken: it is being edited, and work goes on.
    """
    global _read  # noqa: PLW0603  one cache for the process, replaced whole
    config = settings()
    stamp = tuple(_modified(f"{config.config_dir}/{name}") for name in ("queues.toml", "queues.local.toml"))
    if _read is None or _read[0] != stamp:
        try:
            found = queues.load(config.config_dir, config.queues)
            for task, queue in config.task_routes.items():
                _known(found, task, queue)
            _read = stamp, found
        except ConfigError as exc:
            if _read is None:
                raise
            log.warning("queues_not_reread", reason=str(exc))
            _read = stamp, _read[1]
    return _read[1]


def _modified(path: str) -> int:
    """When the file changed, 0 if there is none. Asked for each message that is published: text is cheaper than a Path."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


def _known(found: Queues, task: str, queue: str) -> None:
    """Refuse a route into a queue that no worker reads: what goes there is never seen again."""
    try:
        found[queue]
    except ConfigError as exc:
        raise ConfigError(f"TASK_ROUTES: {task!r}: {exc}") from None


def queue_of(task: str) -> str:
    """The queue that takes this task, by TASK_ROUTES first and queues.toml second."""
    return settings().task_routes.get(task) or current_queues().queue_of(task)


def consumed_queue(name: str) -> KombuQueue:
    """The queue as its worker declares it: the default one on a topic exchange, where stock publishers find it."""
    if name == DEFAULT_QUEUE:
        return KombuQueue(name, Exchange(name, type=DEFAULT_EXCHANGE_TYPE), routing_key=DEFAULT_ROUTING_KEY)
    return KombuQueue(name, Exchange(name, type="direct"), routing_key=name)


@cache
def published_queue(name: str) -> KombuQueue:
    """The queue as our publishers address it: by its own name, on the nameless exchange.

    Redis has no exchanges: kombu looks a named one up in a set of bindings before each message, and drops the message
    silently when that set is gone. The nameless exchange needs no set, so nothing can vanish and a round trip is saved.
    """
    return KombuQueue(name, Exchange("", type="direct"), routing_key=name)


def route_task(name: str, *_: Any, **__: Any) -> dict[str, KombuQueue]:
    """Celery's router function."""
    return {"queue": published_queue(queue_of(name))}
