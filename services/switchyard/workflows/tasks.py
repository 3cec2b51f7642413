"""The core's own Celery tasks: run a chunk, call back, sweep. Published by `fan_out`, run on the queues of the fork's tasks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import current_app, shared_task
from celery.app.task import Task
from celery.exceptions import Reject
from kombu.utils.json import loads
from structlog.contextvars import bound_contextvars

from switchyard.errors import UnknownWorkflow
from switchyard.logs import get_logger
from switchyard.routing import current_queues, queue_of
from switchyard.settings import settings
from switchyard.workflows import items, publishing, record
from switchyard.workflows.context import Current, running_in
from switchyard.workflows.record import patiently

#: Results recorded in one round trip, and the seconds after which fewer are: what a progress bar lags behind.
FLUSH_ITEMS = 50
FLUSH_SECONDS = 0.5
#: Deliveries of a chunk after which its items run one at a time, so that one that kills its worker can be told apart.
CAREFUL_AFTER = {True: 2, False: 1}
#: Begins of one item, in careful mode, that never ended.
MAX_BEGINS = 2
#: Deliveries of a chunk or callback after which it is given up: whatever happens to it is not bad luck.
MAX_DELIVERIES = 10

log = get_logger(__name__)


class NeverLost(Task[Any, Any]):
    """A task whose message is acknowledged only by its success: a lost child or a hard time limit gives it back."""

    acks_late = True
    acks_on_timeout = False
    ignore_result = True


@shared_task(name="switchyard.publish_chunks", base=NeverLost)
def publish_chunks(workflow_id: str, attempt: int) -> None:
    """Publish a workflow's chunks; one without items goes straight to its callback."""
    with _bound(workflow_id, attempt), _never_lost():
        meta = patiently(lambda: record.read(workflow_id))
        if meta.state != "running" or meta.attempt != attempt:
            return
        if meta.total:
            publishing.all_chunks(meta)
        else:
            publishing.call_back(meta)


@shared_task(name="switchyard.run_chunk", base=NeverLost)
def run_chunk(workflow_id: str, attempt: int, chunk: int) -> None:
    """Run the items of one chunk that have no result yet, and record a result for each."""
    with _bound(workflow_id, attempt), _never_lost():
        try:
            meta = patiently(lambda: record.read(workflow_id))
        except UnknownWorkflow:
            log.warning("chunk_of_unknown_workflow_dropped", workflow_id=workflow_id, chunk=chunk)
            return
        if meta.ended or meta.attempt != attempt:
            return
        _Chunk(meta, chunk).run()


class _Chunk:
    """One delivery of one chunk."""

    def __init__(self, meta: record.Meta, chunk: int) -> None:
        self.meta, self.chunk = meta, chunk
        self.limit = current_queues()[queue_of(meta.each)].time_limit
        ((_, self.items, done),) = patiently(lambda: list(record.page(meta.id, [chunk])))
        self.first = chunk * meta.chunk_size
        self.todo = [(self.first + n, item) for n, item in enumerate(self.items) if str(self.first + n) not in done]
        self.deliveries = patiently(lambda: self._count(str(chunk)))
        self.buffer: list[items.Outcome] = []
        self.flushed = time.monotonic()

    def run(self) -> None:
        recorded = 0
        for outcome in self._outcomes():
            if outcome is not None:
                self.buffer.append(outcome)
                recorded += 1
            if len(self.buffer) >= FLUSH_ITEMS or time.monotonic() - self.flushed > FLUSH_SECONDS:
                self._flush()
        state, done, total = self._flush()
        if recorded < len(self.todo):
            self._hand_back()
        elif state == "running" and done >= total:
            publishing.call_back(self.meta)

    def _outcomes(self) -> Iterator[items.Outcome | None]:
        function = current_app.tasks.get(self.meta.each)
        if function is None:
            return iter(
                [
                    items.failure(i, f"no task {self.meta.each!r} in this worker; see its queue's imports")
                    for i, _ in self.todo
                ]
            )
        if self.deliveries > MAX_DELIVERIES:
            return iter([items.failure(i, f"its chunk was lost {MAX_DELIVERIES} times") for i, _ in self.todo])
        concurrent = items.runs_concurrently()
        if self.deliveries > CAREFUL_AFTER[concurrent]:
            return self._carefully(function)
        if concurrent and self.todo:
            return items.at_once(function, self.todo, size=self.meta.concurrency, limit=self.limit, tick=FLUSH_SECONDS)
        return items.one_by_one(function, self.todo, self.limit)

    def _carefully(self, function: Task[Any, Any]) -> Iterator[items.Outcome | None]:
        """One at a time, each begin counted: an item that kills its worker is found, and fails alone."""
        for index, item in self.todo:
            if patiently(lambda index=index: self._count(f"item:{index}")) > MAX_BEGINS:  # type: ignore[misc]
                yield items.failure(
                    index, "its worker was lost each time it ran: it kills it, or hangs beyond its limit"
                )
                continue
            ended = list(items.one_by_one(function, [(index, item)], self.limit))
            if not ended:
                return
            yield ended[0]
            self._flush()

    def _count(self, field: str) -> int:
        """How often this chunk was delivered, or this item begun, this time included."""
        key = record.deliveries_key(self.meta.id)
        pipe = record.client().pipeline()
        pipe.hincrby(key, field)
        pipe.expire(key, settings().workflow_expires)
        return int(pipe.execute()[0])

    def _flush(self) -> tuple[str, int, int]:
        """Record what has ended. An answer that is not this attempt's is left to the end of the chunk to notice."""
        meta, batch = self.meta, self.buffer
        keys = [
            record.meta_key(meta.id),
            record.results_key(meta.id, self.chunk),
            record.failed_key(meta.id),
            record.OPEN,
        ]
        args: list[Any] = [meta.id, meta.attempt, settings().workflow_expires]
        for outcome in batch:
            args += [outcome.index, int(outcome.ok), outcome.result]
        state, done, total = patiently(lambda: record.run_script("record", keys, args))
        self.buffer, self.flushed = [], time.monotonic()
        return state, done, total

    def _hand_back(self) -> None:
        """The worker is stopping, or the chunk has had its time: what is left goes out again, as a first delivery."""
        patiently(lambda: record.client().hdel(record.deliveries_key(self.meta.id), str(self.chunk)))
        publishing.chunks(self.meta, [self.chunk])
        log.info("chunk_handed_back", chunk=self.chunk)


@shared_task(name="switchyard.call_back", base=NeverLost)
def call_back(workflow_id: str, attempt: int) -> None:
    """Call the workflow's callback with all results in order, and end the workflow with what it returns."""
    with _bound(workflow_id, attempt), _never_lost():
        keys = [record.meta_key(workflow_id), record.OPEN]
        claims = patiently(lambda: record.run_script("join", keys, [workflow_id, attempt]))
        if not claims:
            return
        if claims > MAX_DELIVERIES:
            _end(
                workflow_id,
                attempt,
                f"its callback was lost {MAX_DELIVERIES} times: it kills its worker, or hangs beyond its limit",
            )
            return
        meta = patiently(lambda: record.read(workflow_id))
        callback = current_app.tasks.get(meta.callback)
        if callback is None:
            _end(workflow_id, attempt, f"no task {meta.callback!r} in this worker; see its queue's imports")
            return
        grouped = patiently(lambda: list(_results(meta)))
        outcome = items.call(callback, 0, grouped, current_queues()[queue_of(meta.callback)].time_limit)
        if outcome.error:
            _end(workflow_id, attempt, f"its callback failed: {outcome.error}")
            return
        record.finish(workflow_id, attempt=attempt, state="done", result=loads(outcome.result))
        log.info("workflow_done", total=meta.total, failed=meta.failed)


def _results(meta: record.Meta) -> Iterable[Any]:
    """One result per item, in order."""
    for chunk, chunk_items, results in record.page(meta.id, range(meta.chunks)):
        for offset in range(len(chunk_items)):
            text = results.get(str(chunk * meta.chunk_size + offset))
            yield loads(text) if text else {"status": False, "message": "its result has expired"}


def _end(workflow_id: str, attempt: int, reason: str) -> None:
    record.finish(workflow_id, attempt=attempt, state="failed", reason=reason)
    log.error("workflow_failed", reason=reason)


@shared_task(name="switchyard.sweep", ignore_result=True)
def sweep() -> None:
    """Publish again what stalled workflows wait for: with the stock transport a kill can lose a message for good."""
    stalled = time.time() - current_queues().visibility_timeout - 60
    for workflow_id in record.open_workflows(stalled):
        with bound_contextvars(workflow_id=workflow_id):
            try:
                publishing.again(record.read(workflow_id))
            except UnknownWorkflow:
                record.client().zrem(record.OPEN, workflow_id)


@contextmanager
def _bound(workflow_id: str, attempt: int) -> Iterator[None]:
    with running_in(Current(workflow_id, attempt)), bound_contextvars(workflow_id=workflow_id, attempt=attempt):
        yield


@contextmanager
def _never_lost() -> Iterator[None]:
    """Anything unforeseen gives the message back instead of acknowledging it; the count of deliveries ends the loop."""
    try:
        yield
    except Exception as exc:
        log.exception("chunk_given_back")
        raise Reject(exc, requeue=True) from exc
