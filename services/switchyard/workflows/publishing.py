"""Sends a workflow's messages, each to the queue of the task it is about: chunks, the callback, and either again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from celery import current_app
from structlog.contextvars import bound_contextvars

from switchyard.broker import dead_letters, delays
from switchyard.broker.state import of_queues
from switchyard.logs import get_logger
from switchyard.routing import current_queues, published_queue, queue_of
from switchyard.workflows import record
from switchyard.workflows.record import patiently

log = get_logger(__name__)


def send(name: str, args: tuple[Any, ...], *, to: str, producer: Any = None) -> None:
    """Publish one of the core's tasks to the queue `to`, with that queue's chunk limit."""
    # A queue itself, not its name: a queue that is newer than this process is not in its Celery app.
    options: dict[str, Any] = {"queue": published_queue(to), "time_limit": current_queues()[to].chunk_time_limit}
    current_app.send_task(name, args=args, ignore_result=True, producer=producer, **options)


def start(meta: record.Meta) -> None:
    """Publish the publishing of a workflow's chunks. A message of its own: the task that fanned out may be at its limit.

    It goes where that task ran, and not to the default queue, whose work another queue's workflow never waits for.
    """
    patiently(lambda: send("switchyard.publish_chunks", (meta.id, meta.attempt), to=queue_of(meta.name)))


def all_chunks(meta: record.Meta) -> None:
    """Publish every chunk that lacks results and is not out yet, noting how far it got: whoever comes after a kill goes on
    from there. Stops at the next page once the attempt has ended.
    """
    key = record.meta_key(meta.id)
    begin = int(patiently(lambda: record.client().hget(key, "published")) or 0)
    for numbers in _pages(meta, begin):
        unfinished = patiently(lambda numbers=numbers: _unfinished(meta, numbers))  # type: ignore[misc]
        if unfinished is None:
            log.info("publishing_of_ended_workflow_stopped", chunks=numbers.start)
            return
        if unfinished:
            chunks(meta, unfinished)
        patiently(lambda numbers=numbers: record.client().hset(key, "published", numbers.stop))  # type: ignore[misc]


def _pages(meta: record.Meta, begin: int = 0) -> Iterator[range]:
    for first in range(begin, meta.chunks, record.PAGE):
        yield range(first, min(first + record.PAGE, meta.chunks))


def _unfinished(meta: record.Meta, numbers: range) -> list[int] | None:
    """Those of these chunks that lack results; None if this attempt has none to run any more."""
    pipe = record.client().pipeline(transaction=False)
    pipe.hmget(record.meta_key(meta.id), "state", "attempt")
    for number in numbers:
        pipe.hlen(record.results_key(meta.id, number))
    (state, attempt), *found = pipe.execute()
    if state != "running" or attempt != str(meta.attempt):
        return None
    # Every chunk but the last is full.
    there = zip(numbers, found, strict=True)
    return [n for n, results in there if results < min(meta.chunk_size, meta.total - n * meta.chunk_size)]


def chunks(meta: record.Meta, numbers: Sequence[int]) -> None:
    """Publish these chunks in one round trip. What was sent twice because the answer was lost is recorded once."""
    to = queue_of(meta.each)

    def publish() -> None:
        with current_app.producer_pool.acquire(block=True) as producer, producer.batch(record.PAGE):
            for number in numbers:
                send("switchyard.run_chunk", (meta.id, meta.attempt, number), to=to, producer=producer)

    patiently(publish)


def call_back(meta: record.Meta) -> None:
    """Publish the call of the workflow's callback."""
    patiently(lambda: send("switchyard.call_back", (meta.id, meta.attempt), to=queue_of(meta.callback)))


def again(meta: record.Meta, *, patience_s: float) -> None:
    """Publish what a stalled workflow waits for; what runs twice is recorded once.

    While its queues hold messages its own may be among them: only after `patience_s` without progress is that ignored. A start that is
    delayed is left alone until it is due.
    """
    client = record.client()
    if meta.ended:
        client.zrem(record.OPEN, meta.id)
        return
    now = client.time()[0]
    # Since its last progress, or since it was last published again: what waits for hours must not be published every time.
    touched = max(meta.updated, client.zscore(record.OPEN, meta.id) or 0)
    queues = {queue_of(task) for task in (meta.name, meta.each, meta.callback) if task}
    found = of_queues(queues).values()
    begins = meta.state in ("waiting", "starting")
    # Its start may wait for a retry, however long that is.
    if begins and any(queue.delayed for queue in found) and any(m.task_id == meta.id for m in delays.kept()):
        return
    if now - touched < patience_s and any(queue.waiting for queue in found):
        return
    # Noted first: the next sweep gives what is published now as long as this one gave the last.
    client.zadd(record.OPEN, {meta.id: now}, xx=True)
    log.warning("stalled_workflow_published_again", state=meta.state, done=meta.done, total=meta.total)
    if begins:
        _start_again(meta)
    elif meta.state == "running" and not meta.total:
        start(meta)
    elif meta.state == "running" and meta.done < meta.total:
        chunks(meta, [number for numbers in _pages(meta) for number in _unfinished(meta, numbers) or ()])
    else:
        call_back(meta)


def _start_again(meta: record.Meta) -> None:
    """Publish the task that fans out again, under the same id; the record keeps its arguments if `start` published it."""
    if meta.arguments is None:
        record.finish(
            meta.id, attempt=None, state="failed", reason="the task that fans it out was lost; start it again"
        )
        return
    # Not one of an attempt before this.
    if letter := dead_letters.of_task(meta.id, since=meta.updated):
        record.finish(
            meta.id, attempt=None, state="failed", reason=f"the task that fans it out was set aside: {letter.reason}"
        )
        return
    with bound_contextvars(workflow_id=meta.id, **({"event_id": meta.event_id} if meta.event_id else {})):
        patiently(lambda: current_app.send_task(meta.name, kwargs=meta.arguments, task_id=meta.id))
