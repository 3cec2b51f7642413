"""The core's own Celery tasks: run a chunk, call back, sweep. Published by `fan_out`, run on the queues of the fork's tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery import current_app, current_task, shared_task
from celery.app.task import Task
from celery.exceptions import Reject
from kombu.utils.json import loads
from structlog.contextvars import bound_contextvars

from switchyard.errors import UnknownWorkflow
from switchyard.logs import get_logger
from switchyard.routing import current_queues, queue_of
from switchyard.settings import settings
from switchyard.worker import stopping
from switchyard.workflows import cancelling, items, publishing, record, sizing
from switchyard.workflows.context import Current, running_in
from switchyard.workflows.crew import Crew, call_alone, runs_concurrently
from switchyard.workflows.record import patiently
from switchyard.workflows.results import Results

#: Seconds after which what has ended is recorded, in one round trip: what a progress bar lags behind. More bytes do not wait so long.
FLUSH_SECONDS = 0.5
FLUSH_BYTES = 1024**2
#: Deliveries of a chunk without progress after which its items run one at a time, so that one that kills its worker can be told apart.
CAREFUL_AFTER = {True: 2, False: 1}
#: Begins of one item, in careful mode, that never ended.
MAX_BEGINS = 2
#: Deliveries of a chunk without progress, or of a callback, after which it is given up: that is no bad luck any more.
MAX_DELIVERIES = 6

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
        meta = _read(workflow_id)
        if meta is None or meta.state != "running" or meta.attempt != attempt:
            return
        if meta.done < meta.total:
            publishing.all_chunks(meta)
        else:  # there are no items, or an attempt repeats nothing but its callback
            publishing.call_back(meta)


@shared_task(name="switchyard.run_chunk", base=NeverLost)
def run_chunk(workflow_id: str, attempt: int, chunk: int) -> None:
    """Run the items of one chunk that have no result yet, and record a result for each."""
    with _bound(workflow_id, attempt), _never_lost():
        meta = _read(workflow_id)
        if meta is None or meta.ended or meta.attempt != attempt:
            return
        delivered = _Chunk(meta, chunk)
        with _given_back_at_the_end_of_a_stop(delivered.forget):
            delivered.run()


def _read(workflow_id: str) -> record.Meta | None:
    """The record; None, and a line in the log, if it has expired or somebody has emptied Redis."""
    try:
        return patiently(lambda: record.read(workflow_id))
    except UnknownWorkflow:
        log.warning("message_of_unknown_workflow_dropped")
        return None


class _Chunk:
    """One delivery of one chunk."""

    def __init__(self, meta: record.Meta, chunk: int) -> None:
        self.meta, self.chunk = meta, chunk
        self.limit = current_queues()[queue_of(meta.each)].time_limit
        ((_, self.items, done),) = patiently(lambda: list(record.page(meta, [chunk])))
        self.first = chunk * meta.chunk_size
        self.todo = [(self.first + n, item) for n, item in enumerate(self.items) if str(self.first + n) not in done]
        self.deliveries = patiently(lambda: self._count(str(chunk)))
        self.careful = self.deliveries > CAREFUL_AFTER[runs_concurrently()]
        self.crew: Crew | None = None
        #: What has ended and may not be recorded yet, by index: at the end of a stop another thread records it, too (`forget`).
        self.buffer: dict[int, items.Outcome] = {}
        self.flushed = time.monotonic()
        #: The workflow was cancelled, or has moved on: no further item starts, and no result is wanted any more.
        self.ended = False

    def run(self) -> None:
        recorded, answer = 0, None
        for outcomes in self._outcomes():
            if self.ended:
                continue  # what still runs is waited for: it has a slot of this worker
            self._keep(outcomes)
            recorded += len(outcomes)
            if self._is_due():
                answer = self._flush()
            elif not outcomes:  # items that take long: nothing has been recorded for a while, so nobody has answered
                self.ended = not patiently(lambda: cancelling.goes_on(self.meta.id, self.meta.attempt))
        # Not once more for nothing: of all chunks only one is to see that all is done, the one that recorded the last.
        if not self.ended and (self.buffer or not answer):
            answer = self._flush()
        if self.ended or not answer:
            log.info("chunk_of_ended_workflow_stopped", chunk=self.chunk)
            return
        state, done, total = answer
        if recorded < len(self.todo):
            self._hand_back()
        elif state == "running" and done >= total:
            publishing.call_back(self.meta)

    def _is_due(self) -> bool:
        """Whether to record what has ended; in careful mode each item by itself, before the next one can take it along."""
        if not self.buffer:
            return False
        # A crew hands over what has ended since it did so last; it has waited.
        waited = self.careful or self.crew is not None or time.monotonic() - self.flushed > FLUSH_SECONDS
        return waited or sum(len(outcome.result) for outcome in list(self.buffer.values())) > FLUSH_BYTES

    def _keep(self, outcomes: Iterable[items.Outcome]) -> None:
        self.buffer.update((outcome.index, outcome) for outcome in outcomes)

    def _outcomes(self) -> Iterator[list[items.Outcome]]:
        function = current_app.tasks.get(self.meta.each)
        if function is None:
            return self._failures(f"no task {self.meta.each!r} in this worker; see its queue's imports")
        if self.deliveries > MAX_DELIVERIES:
            return self._failures(f"its chunk was lost {MAX_DELIVERIES} times")
        if self.careful:
            return self._carefully(function)
        if runs_concurrently():
            self.crew = Crew(function, self.todo, self.limit, asked=self.meta.asked, ended=lambda: self.ended)
            return self.crew.outcomes(tick=FLUSH_SECONDS)
        return ([outcome] for outcome in items.one_by_one(function, self.todo, self.limit, lambda: self.ended))

    def _failures(self, error: str) -> Iterator[list[items.Outcome]]:
        return iter([[items.failure(index, error) for index, _ in self.todo]])

    def _carefully(self, function: Task[Any, Any]) -> Iterator[list[items.Outcome]]:
        """One at a time, each begin counted: an item that kills its worker is found, and fails alone."""
        over = time.monotonic() + self.limit
        for index, item in self.todo:
            if stopping.is_set() or self.ended or time.monotonic() > over:
                return
            if patiently(lambda index=index: self._count(f"item:{index}")) > MAX_BEGINS:  # type: ignore[misc]
                cause = patiently(lambda: record.cause_of_loss(self.meta.id, str(self.chunk)))
                yield [items.failure(index, f"its worker was lost each time it ran: {cause}")]
                continue
            with _given_back_at_the_end_of_a_stop(partial(self._uncount, f"item:{index}")):
                outcome = call_alone(function, index, item, self.limit)
            yield [outcome]

    def _count(self, field: str) -> int:
        """How often this chunk was delivered, or this item begun, this time included."""
        key = record.deliveries_key(self.meta.id)
        pipe = record.client().pipeline()
        pipe.hincrby(key, field)
        pipe.expire(key, settings().workflow_expires)
        return int(pipe.execute()[0])

    def _flush(self) -> tuple[str, int, int]:
        """Record what has ended. The answer also says whether there is anything left to do it for."""
        meta, batch = self.meta, list(self.buffer.values())
        keys = [
            record.meta_key(meta.id),
            record.results_key(meta.id, self.chunk),
            record.failed_key(meta.id),
            record.OPEN,
            record.items_key(meta.id),
            record.deliveries_key(meta.id),
            sizing.ITEM_SECONDS,
        ]
        took = [outcome.seconds for outcome in batch if outcome.seconds]  # some have not run
        seconds = sum(took) / max(1, len(took))
        args: list[Any] = [meta.id, meta.attempt, settings().workflow_expires, self.chunk, meta.each, f"{seconds:.6f}"]
        for outcome in batch:
            args += [outcome.index, int(outcome.ok), outcome.result]
        state, done, total = patiently(lambda: record.run_script("record", keys, args))
        for outcome in batch:
            self.buffer.pop(outcome.index, None)
        self.flushed = time.monotonic()
        self.ended = state not in cancelling.UNDER_WAY
        return state, done, total

    def forget(self) -> None:
        """Its message goes back: record what has ended, and have the rest run again as a first delivery."""
        if self.crew:
            self._keep(self.crew.take())
        if self.buffer:
            self._flush()
        self._uncount(str(self.chunk), f"cause:{self.chunk}")

    def _uncount(self, *fields: str) -> None:
        patiently(lambda: record.client().hdel(record.deliveries_key(self.meta.id), *fields))

    def _hand_back(self) -> None:
        """The worker is stopping, or the chunk has had its time: what is left goes out again, as a first delivery."""
        self.forget()
        publishing.chunks(self.meta, [self.chunk])
        log.info("chunk_handed_back", chunk=self.chunk)


@shared_task(name="switchyard.call_back", base=NeverLost)
def call_back(workflow_id: str, attempt: int) -> None:
    """Call the workflow's callback with all results in order, in a list unless it reads them page by page, and end the workflow with what it returns."""
    with _bound(workflow_id, attempt), _never_lost():
        meta = _read(workflow_id)
        if meta is None or not (claims := _claim(meta, attempt)):
            return
        if claims > MAX_DELIVERIES:
            cause = patiently(lambda: record.cause_of_loss(workflow_id, record.CALLBACK))
            _end(workflow_id, attempt, f"its callback was lost {MAX_DELIVERIES} times: {cause}")
            return
        callback = current_app.tasks.get(meta.callback)
        if callback is None:
            _end(workflow_id, attempt, f"no task {meta.callback!r} in this worker; see its queue's imports")
            return
        results = Results(meta)
        grouped = results if meta.stream else list(results)
        if not patiently(lambda: cancelling.goes_on(workflow_id, attempt)):  # many results take a while to be read
            return
        unclaim = partial(record.client().hincrby, record.meta_key(workflow_id), "joins", -1)
        with _given_back_at_the_end_of_a_stop(unclaim):
            outcome = call_alone(callback, 0, grouped, current_queues()[queue_of(meta.callback)].time_limit)
        if outcome.error:
            _end(workflow_id, attempt, f"its callback failed: {outcome.error}")
            return
        if record.finish(workflow_id, attempt=attempt, state="done", result=loads(outcome.result)):
            log.info("workflow_done", total=meta.total, failed=meta.failed)


def _claim(meta: record.Meta, attempt: int) -> int:
    """How often this attempt's callback was claimed, by this message now for the last time; 0 if it is not this one's."""
    keys = [record.meta_key(meta.id), record.OPEN]
    limit = current_queues()[queue_of(meta.callback)].chunk_time_limit
    args = [meta.id, attempt, current_task.request.id, limit]
    return int(patiently(lambda: record.run_script("join", keys, args)))


def _end(workflow_id: str, attempt: int, reason: str) -> None:
    if record.finish(workflow_id, attempt=attempt, state="failed", reason=reason):
        log.error("workflow_failed", reason=reason)


@shared_task(name="switchyard.sweep", ignore_result=True)
def sweep() -> None:
    """Publish again what stalled workflows wait for: with the stock transport a kill can lose a message for good."""
    found = current_queues()
    for workflow_id in record.open_workflows(found.stalled_after):
        with bound_contextvars(workflow_id=workflow_id):
            try:
                publishing.again(record.read(workflow_id), patience_s=found.visibility_timeout)
            except UnknownWorkflow:
                record.client().zrem(record.OPEN, workflow_id)
            except Exception:
                log.exception("stalled_workflow_not_published")  # the others are not to wait for this one


@contextmanager
def _bound(workflow_id: str, attempt: int) -> Iterator[None]:
    with running_in(Current(workflow_id, attempt)), bound_contextvars(workflow_id=workflow_id, attempt=attempt):
        yield


@contextmanager
def _given_back_at_the_end_of_a_stop(uncount: Callable[[], object]) -> Iterator[None]:
    """If a stop ends this process in the middle (worker/handing_back.py), its message was not lost, and is not counted so."""
    stopping.handed_back.add(uncount)
    try:
        yield
    except SystemExit:  # in a child of prefork; elsewhere nothing is raised, the process is gone
        if stopping.is_set():  # else the pool has ended it at its hard limit, which counts
            uncount()
        raise
    finally:
        stopping.handed_back.discard(uncount)


@contextmanager
def _never_lost() -> Iterator[None]:
    """Anything unforeseen gives the message back instead of acknowledging it; the count of deliveries ends the loop."""
    try:
        yield
    except Exception as exc:
        log.exception("chunk_given_back")
        raise Reject(exc, requeue=True) from exc
