"""Items of a chunk in, exactly one outcome for each out, whatever an item does."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import WorkerShutdown, WorkerTerminate
from structlog.testing import capture_logs

from switchyard.errors import ReportError, SwitchyardError
from switchyard.worker import stopping
from switchyard.workflows import items
from switchyard.workflows.context import Current, current, running_in

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


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a hung item waits for; it is let go at the end, however the test ends."""
    event = threading.Event()
    yield event
    event.set()


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


def test_the_main_thread_of_a_process_runs_one_item_at_a_time() -> None:
    """Prefork and solo do; a thread may share."""
    told = []
    thread = threading.Thread(target=lambda: told.append(items.runs_concurrently()))
    thread.start()
    thread.join()
    assert (items.runs_concurrently(), told) == (False, [True])


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


# --- At once


def at_once(function: Callable[[Any], Any], count: int, size: int, limit: float = LONG) -> list[items.Outcome]:
    todo = [(index, index) for index in range(count)]
    return [o for o in items.at_once(function, todo, size=size, limit=limit, tick=0.01) if o is not None]


def test_items_really_run_at_once() -> None:
    """As many as asked for, all of them at one point at the same time; with fewer nobody would pass the barrier."""
    size = 8
    barrier = threading.Barrier(size)
    outcomes = at_once(lambda _: barrier.wait(LONG), size, size)
    assert len(outcomes) == size
    assert all(o.ok for o in outcomes)


def test_no_more_items_run_at_once_than_asked_for() -> None:
    """However many there are."""
    lock, now, most = threading.Lock(), 0, 0

    def run(_: Any) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1

    assert len(at_once(run, 200, 3)) == 200
    assert 1 <= most <= 3


@pytest.mark.parametrize(
    ("count", "size"),
    [
        # nothing to do
        (0, 4),
        # one, and fewer than may run
        (1, 4),
        (3, 16),
        # many more than may run
        (500, 16),
        # one after the other
        (20, 1),
    ],
)
def test_every_item_has_exactly_one_outcome(count: int, size: int) -> None:
    """Whether it returns, raises, exits or returns what cannot be recorded; each its own."""
    doings = [lambda n: n, raising(ValueError("v")), raising(SystemExit(1)), lambda n: object(), raising(Timeout("t"))]
    outcomes = at_once(lambda n: doings[n % len(doings)](n), count, size)
    assert Counter(o.index for o in outcomes) == Counter(range(count))
    assert {o.index: o.ok for o in outcomes} == {n: n % len(doings) == 0 for n in range(count)}


def test_a_hung_thread_is_given_up(monkeypatch: pytest.MonkeyPatch, release: threading.Event) -> None:
    """After the limit and a grace, by the clock."""
    monkeypatch.setattr(items, "GRACE", SHORT)
    (outcome,) = at_once(lambda _: release.wait(LONG), 1, 1, SHORT)
    assert (outcome.index, outcome.ok, outcome.error) == (0, False, f"exceeded its time limit of {SHORT:g} s")


def test_the_late_result_of_a_hung_thread_is_ignored(release: threading.Event) -> None:
    """The item has failed; when it comes back after all, while others still run, nobody counts it twice."""
    threads = {}
    both_run = threading.Barrier(3)

    def run(item: int) -> str:
        threads[item] = threading.current_thread()
        both_run.wait(LONG)
        # Item 1 ends only when the thread of item 0 has: after its late result was handed in.
        return str(release.wait(LONG)) if item == 0 else str(threads[0].join(LONG))

    crew = items.Crew(run, [(0, 0), (1, 1)], 2, LONG)
    both_run.wait(LONG)
    crew.running[0] -= 2 * LONG  # it is late
    outcomes = []
    for outcome in crew.outcomes(0.001):
        if outcome is not None:
            outcomes.append((outcome.index, outcome.ok))
            release.set()
    assert outcomes == [(0, False), (1, True)]
    assert not threads[0].is_alive()


def test_when_every_member_hangs_all_are_given_up(release: threading.Event) -> None:
    """The chunk ends; what never began has no outcome, and is handed back."""
    both_run = threading.Barrier(3)

    def run(_: int) -> None:
        both_run.wait(LONG)
        release.wait(LONG)

    crew = items.Crew(run, [(n, n) for n in range(5)], 2, LONG)
    both_run.wait(LONG)
    crew.over -= 2 * LONG
    for index in (0, 1):
        crew.running[index] -= 2 * LONG
    assert [(o.index, o.ok) for o in crew.outcomes(0.001) if o is not None] == [(0, False), (1, False)]


def test_a_caller_is_never_left_without_a_word(release: threading.Event) -> None:
    """While nothing ends there is None, tick by tick, so that what was recorded before can be flushed."""
    found = items.at_once(lambda _: release.wait(LONG), [(0, 0)], size=1, limit=LONG, tick=0.001)
    assert [next(found), next(found)] == [None, None]
    release.set()
    assert [o.index for o in found if o is not None] == [0]


def test_no_item_of_a_crew_starts_once_the_worker_is_stopping() -> None:
    """Items that run finish and count; the rest has no outcome."""
    size = 3
    barrier = threading.Barrier(size, action=stopping.mark)
    outcomes = at_once(lambda _: barrier.wait(LONG), 20, size)
    assert sorted(o.index for o in outcomes) == [0, 1, 2]


def test_who_is_late_is_looked_up_while_nobody_changes_the_list(release: threading.Event) -> None:
    """Members add to it whenever they begin an item."""
    crew = items.Crew(lambda _: release.wait(LONG), [(0, 0)], 1, LONG)
    held = []

    class Watched(dict[int, float]):
        def items(self) -> Any:
            held.append(crew.lock.locked())
            return super().items()

    crew.running = Watched(crew.running)
    assert next(crew.outcomes(0.001)) is None
    assert held == [True]


def test_an_item_of_a_crew_knows_its_workflow() -> None:
    """Its id and attempt make an idempotency key; outside there is none."""
    seen = []
    with running_in(Current("w", 2)):
        at_once(lambda _: seen.append(current()), 4, 2)
    assert seen == [Current("w", 2)] * 4
    assert current() is None


# --- Green pools

GREEN_ITEMS = """
from gevent import monkey
monkey.patch_all()
import gevent, json
from switchyard.workflows import items
from switchyard.workflows.items import at_once, one_by_one
assert items.runs_concurrently()
def run(item):
    if item == 1:
        try:
            gevent.sleep(60)
        except Exception:
            gevent.sleep(60)
    if item == 2:
        with gevent.Timeout(0.001):
            gevent.sleep(60)
    return item
todo = [(n, n) for n in range(4)]
for outcomes in (at_once(run, todo, size=4, limit=2, tick=0.01), one_by_one(run, todo[1:2], 2)):
    print(json.dumps({o.index: o.error for o in outcomes if o is not None}))
"""


def test_a_greenlet_that_hangs_is_interrupted(python: Callable[..., str]) -> None:
    """By gevent's own timeout; one that the item itself set is the item's failure, and ends nothing else."""
    together, alone = (json.loads(line) for line in python(GREEN_ITEMS).splitlines() if line.startswith("{"))
    assert (together["0"], together["1"], together["3"]) == ("", "exceeded its time limit of 2 s", "")
    assert together["2"].startswith("Timeout: ")
    assert alone == {"1": "exceeded its time limit of 2 s"}


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
