"""A workflow's record in Redis: items and results in, progress and the callback's input out. The only place that knows its keys."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar, cast

import redis
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.utils.json import dumps, loads
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004  redis' own names
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)
from redis.retry import Retry

from switchyard.errors import UnknownWorkflow
from switchyard.logs import get_logger
from switchyard.settings import settings
from switchyard.worker import stopping

#: Sorted sets of ids: workflows that have not ended by their last progress, and all of them by when they were made.
OPEN, INDEX = "switchyard:workflows", "switchyard:workflows:all"
#: Workflows that an event has made and nobody has published yet, by when that was; and a list that is not empty while there
#: may be new ones, for somebody to block on.
OUTBOX, WAKE = "switchyard:outbox", "switchyard:outbox:wake"
#: Most that may wait there: the starter has been away for long, or the broker takes nothing.
OUTBOX_MAX = 100_000
#: Why a workflow failed whose task was revoked by Celery's means, which workers remember.
REVOKED = "its task was revoked before it ran"
#: States in which nothing of a workflow runs any more.
ENDED = ("done", "failed", "cancelled")
#: Stands for the callback where a chunk's number stands otherwise.
CALLBACK = "callback"
#: Redis answers that end by themselves or by an operator's hand: it starts, its disk is full, its memory is full.
_PASSING = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
    ClusterDownError,
)
#: Connections of one process; a chunk uses one at a time, and waits for a free one.
_CONNECTIONS = 64
#: Chunks published, and items or results moved, in one round trip, or little more.
PAGE, PAGE_ITEMS = 100, 10_000

T = TypeVar("T")
log = get_logger(__name__)


def meta_key(workflow_id: str) -> str:
    """The hash of the record itself: state, counts, result."""
    return f"switchyard:workflow:{workflow_id}"


def items_key(workflow_id: str) -> str:
    """The hash of its items: a chunk's number -> JSON."""
    return f"{meta_key(workflow_id)}:items"


def failed_key(workflow_id: str) -> str:
    """The sorted set of the failed items' indices."""
    return f"{meta_key(workflow_id)}:failed"


def deliveries_key(workflow_id: str) -> str:
    """The hash of how often a chunk was delivered, or an item of a careful chunk begun; and why a chunk was lost."""
    return f"{meta_key(workflow_id)}:deliveries"


def results_key(workflow_id: str, chunk: int) -> str:
    """The hash of a chunk's results: an item's index in the workflow -> JSON."""
    return f"{meta_key(workflow_id)}:results:{chunk}"


def client() -> redis.Redis:
    """This process' client of the result backend; a forked child makes its own."""
    return _client(os.getpid())


@cache
def _client(pid: int) -> redis.Redis:
    del pid
    pool = redis.BlockingConnectionPool.from_url(
        settings().result_backend_url(), max_connections=_CONNECTIONS, timeout=None, decode_responses=True,
        socket_timeout=10, socket_connect_timeout=5, retry=Retry(NoBackoff(), 1),
    )  # fmt: skip
    return redis.Redis(connection_pool=pool)


def script_source(name: str) -> str:
    """One of `lua/`."""
    return (files("switchyard.workflows") / "lua" / f"{name}.lua").read_text()


@cache
def _script(name: str) -> Script:
    return client().register_script(script_source(name))


def run_script(name: str, keys: list[str], args: Iterable[Any]) -> Any:
    """Run one of `lua/`. Raises redis' own errors; `patiently` outwaits the passing ones."""
    return _script(name)(keys=keys, args=list(args), client=client())


def passing(exc: Exception) -> bool:
    """Whether Redis will answer again without our doing anything else."""
    if isinstance(exc, BatchPublishError):
        return isinstance(exc.__cause__, Exception) and passing(exc.__cause__)
    # A full disk is the one of them for which redis-py has no class.
    return isinstance(exc, (*_PASSING, OperationalError)) or str(exc).startswith("MISCONF")


def patiently(call: Callable[[], T]) -> T:
    """`call()`, again and again while Redis is away or full: a worker loses nothing by waiting, a lost result hangs a
    workflow. Gives up only when the worker is stopping; the message then runs again elsewhere.
    """
    wait = 0.25
    while True:
        try:
            return call()
        except (redis.RedisError, OperationalError, BatchPublishError) as exc:
            if not passing(exc) or stopping.is_set():
                raise
            log.warning("redis_awaited", reason=str(exc), wait_s=wait)
            time.sleep(wait)
            wait = min(wait * 2, 5.0)


@dataclass(frozen=True)
class Meta:
    """A workflow's record without its items and results. Times are seconds since the epoch, by Redis' clock."""

    id: str
    name: str
    state: str
    each: str
    callback: str
    chunks: int
    chunk_size: int
    total: int
    concurrency: int
    attempt: int
    done: int
    failed: int
    created: float
    updated: float
    result: Any
    reason: str
    arguments: dict[str, Any] | None
    event_id: str
    event_source: str
    event_type: str
    fanned_out: bool
    #: Whether `concurrency` is none that somebody has asked for, but what workers go by that know no better.
    chosen: bool
    #: Whether the callback is given Results, and not a list.
    stream: bool

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.state in ENDED

    @property
    def asked(self) -> int | None:
        """The items of a chunk that are to run at once; None: as many as pay off."""
        return None if self.chosen else self.concurrency

    @classmethod
    def parse(cls, workflow_id: str, fields: Mapping[str, str]) -> Meta:
        """The record from Redis' hash. Raises UnknownWorkflow for an empty one."""
        if not fields.get("state"):
            raise UnknownWorkflow(f"No workflow has the id {workflow_id!r}; it may have expired.")
        number = {
            key: int(fields.get(key) or 0) for key in ("chunks", "chunk_size", "total", "concurrency", "done", "failed")
        }
        return cls(
            id=workflow_id, name=fields.get("name", ""), state=fields["state"], each=fields.get("each", ""),
            callback=fields.get("callback", ""), attempt=int(fields.get("attempt") or 1),
            created=float(fields.get("created") or 0), updated=float(fields.get("updated") or 0),
            result=loads(fields["result"]) if fields.get("result") else None, reason=fields.get("reason", ""),
            arguments=loads(fields["arguments"]) if fields.get("arguments") else None,
            event_id=fields.get("event_id", ""), event_source=fields.get("event_source", ""),
            event_type=fields.get("event_type", ""), fanned_out="total" in fields, chosen=bool(fields.get("chosen")),
            stream=bool(fields.get("stream")), **number,
        )  # fmt: skip


def read(workflow_id: str) -> Meta:
    """A workflow's record as it is now. Raises UnknownWorkflow, or redis' errors."""
    return Meta.parse(workflow_id, cast("dict[str, str]", client().hgetall(meta_key(workflow_id))))


def pages(chunks: Sequence[int], chunk_size: int, items: int = PAGE_ITEMS) -> Iterator[Sequence[int]]:
    """These chunks, as many at a time as have about so many items together."""
    size = max(1, min(PAGE, items // max(1, chunk_size)))
    return (chunks[start : start + size] for start in range(0, len(chunks), size))


def page(meta: Meta, chunks: Sequence[int]) -> Iterator[tuple[int, list[Any], dict[str, str]]]:
    """Of each chunk its number, its items and its recorded results (item's index in the workflow -> JSON)."""
    workflow_id = meta.id
    for some in pages(chunks, meta.chunk_size):
        pipe = client().pipeline(transaction=False)
        pipe.hmget(items_key(workflow_id), [str(number) for number in some])
        for number in some:
            pipe.hgetall(results_key(workflow_id, number))
        items, *results = pipe.execute()
        for number, chunk_items, chunk_results in zip(some, items, results, strict=True):
            yield number, loads(chunk_items) if chunk_items else [], chunk_results


def results(meta: Meta, chunks: Sequence[int]) -> list[dict[str, str]]:
    """Of each chunk its recorded results (item's index in the workflow -> JSON), in one round trip."""
    pipe = client().pipeline(transaction=False)
    for number in chunks:
        pipe.hgetall(results_key(meta.id, number))
    return cast("list[dict[str, str]]", pipe.execute())


def note_cause_of_loss(workflow_id: str, chunk: str, cause: str) -> None:
    """Keep why the process of a chunk, or of the CALLBACK, is killed; what must be given up at last says so."""
    key = deliveries_key(workflow_id)
    pipe = client().pipeline()
    pipe.hset(key, f"cause:{chunk}", cause)
    pipe.expire(key, settings().workflow_expires)
    pipe.execute()


def cause_of_loss(workflow_id: str, chunk: str) -> str:
    """Why the process of a chunk, or of the CALLBACK, was lost: by our own doing, or as far as one can guess."""
    cause = cast("str | None", client().hget(deliveries_key(workflow_id), f"cause:{chunk}"))
    return cause or "it kills it, or hangs beyond its limit"


def open_workflows(untouched_s: float) -> list[str]:
    """The ids of workflows that have not ended, and have not moved for `untouched_s` seconds."""
    return cast("list[str]", client().zrangebyscore(OPEN, 0, client().time()[0] - untouched_s))


def failed_items(workflow_id: str) -> Iterator[tuple[Any, Any]]:
    """Each failed item with its result, in order."""
    meta = read(workflow_id)
    indices = {int(index) for index in cast("list[str]", client().zrange(failed_key(workflow_id), 0, -1))}
    position = 0
    for _, items, results in page(meta, range(meta.chunks)):
        for offset, item in enumerate(items):
            if position + offset in indices:
                yield item, loads(results[str(position + offset)])
        position += len(items)


def finish(workflow_id: str, *, attempt: int | None, state: str, result: Any = None, reason: str = "") -> bool:
    """End the workflow, unless it has ended or moved to another attempt. True if this call ended it."""
    args = (
        workflow_id,
        attempt or "",
        state,
        "" if result is None else dumps(result),
        reason,
        settings().workflow_expires,
    )
    return bool(patiently(lambda: run_script("finish", [meta_key(workflow_id), OPEN], args)))


def end_start(
    workflow_id: str,
    reason: str,
    *,
    state: str = "failed",
    only: tuple[str, ...] = ("waiting", "starting"),
    result: Any = None,
) -> None:
    """End the workflow that the task of this id was to fan out, if there is one and it has not got beyond that.

    A `result` that JSON cannot carry is left out.
    """
    if client().hget(meta_key(workflow_id), "state") in only:
        try:
            dumps(result)
        except (TypeError, ValueError):
            result = None
        finish(workflow_id, attempt=None, state=state, reason=reason, result=result)
