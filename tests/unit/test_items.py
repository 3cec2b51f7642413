"""Items of a chunk in, exactly one outcome for each out, whatever an item does."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import WorkerShutdown, WorkerTerminate
from structlog.testing import capture_logs

from switchyard.errors import ReportError, SwitchyardError
from switchyard.worker import stopping
from switchyard.workflows import items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that no item here ever comes near.
LONG = 60.0
#: And those after which an item is given up that is made to hang.
SHORT = 0.2


@pytest.fixture(autouse=True)
def going_on() -> Iterator[None]:
    """The mark that a worker is stopping is shared memory; no test leaves it set. What is logged is not shown."""
    with capture_logs():
        yield
    stopping._flags[0] = 0


def raising(exc: BaseException) -> Callable[[Any], Any]:
    def run(_: Any) -> None:
        raise exc

    return run


def returning(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Timeout(BaseException):
    """As gevent.Timeout is: raised by an item's own library, and no Exception."""


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# --- One item


@pytest.mark.parametrize(
    ("value", "ok"),
    [
        # whatever JSON carries is a result
        (None, True),
        (0, True),
        ([], True),
        ("text", True),
        ({"status": True, "message": "m"}, True),
        # only a status that is false itself says that the item failed
        ({"status": False, "message": "m"}, False),
        ({"status": 0}, True),
        ({"status": None}, True),
        ([{"status": False}], True),
    ],
)
def test_what_an_item_returns_is_its_result(value: Any, ok: bool) -> None:
    """Recorded as it is; an item that says it failed has failed, and has no error of ours."""
    outcome = items.call(returning(value), 7, "item", LONG)
    assert (outcome.index, json.loads(outcome.result), outcome.ok, outcome.error) == (7, value, ok, "")


@pytest.mark.parametrize(
    ("function", "error"),
    [
        # it raises
        (raising(ValueError("the reason")), "ValueError: the reason"),
        (raising(RecursionError("too deep")), "RecursionError: too deep"),
        (raising(MemoryError()), "MemoryError: "),
        # it exits
        (raising(SystemExit(3)), "SystemExit: 3"),
        # it raises what is no Exception: a library's timeout, a cancelled coroutine
        (raising(Timeout("5 seconds")), "Timeout: 5 seconds"),
        (raising(asyncio.CancelledError()), "CancelledError: "),
        # what it raises cannot even be read
        (raising(Unreadable()), "Unreadable: (it has no readable text)"),
        # it returns what JSON cannot carry
        (returning(object()), "returned what JSON cannot carry: "),
        (returning(nested(100_000)), "returned what JSON cannot carry: "),
        (returning({("a", "tuple"): 1}), "returned what JSON cannot carry: "),
    ],
)
def test_an_item_without_a_result_has_a_false_one(function: Callable[[Any], Any], error: str) -> None:
    """With the reason as its message; the next item runs."""
    outcome = items.call(function, 7, "item", LONG)
    assert (outcome.index, outcome.ok) == (7, False)
    assert outcome.error.startswith(error)
    assert json.loads(outcome.result) == {"status": False, "message": outcome.error}


class ShopError(SwitchyardError):
    """The shop is closed."""


@pytest.mark.parametrize(
    ("exc", "sentence"),
    [
        # with words of its own, or with those of its kind
        (ReportError("No rows in 2017-05; ask for another period."), "No rows in 2017-05; ask for another period."),
        (ShopError(), "The shop is closed."),
    ],
)
def test_a_sentence_that_was_written_to_be_read_is_told_as_it_is(exc: SwitchyardError, sentence: str) -> None:
    """Without the name of its class."""
    assert items.call(raising(exc), 7, "item", LONG).error == sentence


@pytest.mark.parametrize(("size", "ok"), [(100, True), (101, False)])
def test_a_result_that_is_too_large_is_not_recorded(monkeypatch: pytest.MonkeyPatch, size: int, ok: bool) -> None:
    """Redis would stall for everyone; the reason says how large it was. Quotes count: what is recorded is JSON."""
    monkeypatch.setattr(items, "MAX_RESULT_BYTES", 100)
    outcome = items.call(returning("x" * (size - 2)), 0, None, LONG)
    assert (outcome.ok, outcome.error) == (ok, "" if ok else "returned 101 bytes of JSON; expected at most 100")


def test_an_endless_reason_is_cut() -> None:
    """An exception may quote a whole page; the record keeps its beginning."""
    outcome = items.call(raising(ValueError("x" * 100_000)), 0, None, LONG)
    assert outcome.error.startswith("ValueError: xxx")
    assert len(outcome.result) < 2 * items.LONGEST_ERROR


@pytest.mark.parametrize("exc", [WorkerShutdown(0), WorkerTerminate(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_the_worker_is_no_items_outcome(exc: BaseException) -> None:
    """The item has not failed: it runs again elsewhere."""
    with pytest.raises(type(exc)):
        items.call(raising(exc), 0, None, LONG)


def test_a_killed_greenlet_is_no_items_outcome() -> None:
    """gevent's GreenletExit, as a pool that ends raises it."""
    from gevent import GreenletExit

    with pytest.raises(GreenletExit):
        items.call(raising(GreenletExit()), 0, None, LONG)


# --- The time limit in the main thread


def hang(_: Any) -> None:
    while True:
        signal.pause()


def test_an_item_that_hangs_is_interrupted() -> None:
    """By an alarm, even one that swallows every Exception; what was there before comes back."""

    def stubborn(item: Any) -> None:
        try:
            hang(item)
        except Exception:
            hang(item)

    before = signal.getsignal(signal.SIGALRM)
    outcome = items.call(stubborn, 3, None, SHORT)
    assert (outcome.index, outcome.ok, outcome.error) == (3, False, f"exceeded its time limit of {SHORT:g} s")
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize(
    "other",
    [
        # as DuckDB, and as the pool's own last warning, which the core cannot prevent
        RuntimeError("Query interrupted"),
        SystemExit(1),
        # a library's sentence is no better than the reason for it
        ReportError("The query failed."),
        # whatever it puts in its place may be no Exception at all
        Timeout("interrupted"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_what_a_library_raises_in_place_of_the_interruption_counts_as_it(other: BaseException) -> None:
    """The item has exceeded its limit, and that is what its result says."""

    def library(item: Any) -> None:
        try:
            hang(item)
        except BaseException:
            raise other from None

    outcome = items.call(library, 3, None, SHORT)
    assert (outcome.index, outcome.ok, outcome.error) == (3, False, f"exceeded its time limit of {SHORT:g} s")


@pytest.mark.parametrize(
    ("took", "error"),
    [
        # before the limit it is the item's own failure
        (0.0, "RuntimeError: Query interrupted"),
        (9.9, "RuntimeError: Query interrupted"),
        # at the limit and after it, it is the limit
        (10.0, "exceeded its time limit of 10 s"),
        (99.0, "exceeded its time limit of 10 s"),
    ],
)
def test_the_time_tells_a_failure_from_an_interruption(
    monkeypatch: pytest.MonkeyPatch, took: float, error: str
) -> None:
    """The same exception, sooner or later."""
    clock = [1000.0]

    def fail(_: Any) -> None:
        clock[0] += took
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(items.time, "monotonic", lambda: clock[0])
    assert items.call(fail, 0, None, 10).error == error


def test_an_item_that_is_quick_leaves_no_alarm_behind() -> None:
    """Neither by returning nor by raising."""
    before = signal.getsignal(signal.SIGALRM)
    for function in (returning(1), raising(ValueError())):
        items.call(function, 0, None, LONG)
        assert signal.getsignal(signal.SIGALRM) is before
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


# --- One by one


def test_items_run_in_order_with_one_outcome_each() -> None:
    """Failures included."""
    outcomes = list(items.one_by_one(lambda item: 1 // item, list(enumerate([1, 0, 1])), LONG))
    assert [(o.index, o.ok) for o in outcomes] == [(0, True), (1, False), (2, True)]


def test_no_item_starts_once_the_worker_is_stopping() -> None:
    """What has ended counts; the rest has no outcome, and runs elsewhere."""
    ran = []

    def run(item: int) -> None:
        ran.append(item)
        if item == 1:
            stopping.mark()

    assert [o.index for o in items.one_by_one(run, [(n, n) for n in range(4)], LONG)] == [0, 1]
    assert ran == [0, 1]


def test_no_item_starts_once_the_chunk_has_had_its_time() -> None:
    """One that hung has taken all of it; its own outcome counts."""
    outcomes = list(items.one_by_one(lambda item: hang(item) if item else None, [(0, 0), (1, 1), (2, 0)], SHORT))
    assert [(o.index, o.ok) for o in outcomes] == [(0, True), (1, False)]


# --- The mark itself

FORKED = """
import os
from switchyard.worker import stopping
assert not stopping.is_set()
reader, writer = os.pipe()
if (child := os.fork()) == 0:
    os.read(reader, 1)
    os._exit(10 + stopping.is_set())
stopping.mark()
os.write(writer, b"x")
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_sees_its_parents_mark(python: Callable[..., str]) -> None:
    """Prefork's children stop at the next item when their parent is told to."""
    assert python(FORKED) == "11\n"
