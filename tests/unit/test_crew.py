"""Items of a chunk at once: exactly one outcome for each, no more of them than may run, and none begun in vain."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from switchyard.worker import stopping
from switchyard.workflows import crew, pace
from switchyard.workflows.context import Current, current, running_in
from switchyard.workflows.crew import Crew, runs_concurrently
from switchyard.workflows.items import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that no item here ever comes near.
LONG = 60.0
#: And those after which an item is given up that is made to hang.
SHORT = 0.2


@pytest.fixture(autouse=True)
def going_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The mark that a worker is stopping is shared memory; no test leaves it set. Each has a pace of its own. What is logged is not shown."""
    monkeypatch.setattr(crew, "pace", pace.Pace())
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


class AtOnce:
    """An item that counts how many of its kind run at once, and at most did."""

    def __init__(self) -> None:
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __call__(self, _: Any) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.001)
        with self.lock:
            self.now -= 1


class Timeout(BaseException):
    """As gevent.Timeout is: raised by an item's own library, and no Exception."""


def test_the_main_thread_of_a_process_runs_one_item_at_a_time() -> None:
    """Prefork and solo do; a thread may share."""
    told = []
    thread = threading.Thread(target=lambda: told.append(runs_concurrently()))
    thread.start()
    thread.join()
    assert (runs_concurrently(), told) == (False, [True])


def at_once(function: Callable[[Any], Any], count: int, size: int | None, limit: float = LONG) -> list[Outcome]:
    found = Crew(function, [(index, index) for index in range(count)], limit, asked=size).outcomes(tick=0.01)
    return [outcome for outcomes in found for outcome in outcomes]


def test_items_really_run_at_once() -> None:
    """As many as asked for, all of them at one point at the same time; with fewer nobody would pass the barrier."""
    size = 8
    barrier = threading.Barrier(size)
    outcomes = at_once(lambda _: barrier.wait(LONG), size, size)
    assert len(outcomes) == size
    assert all(o.ok for o in outcomes)


def test_no_more_items_run_at_once_than_asked_for() -> None:
    """However many there are."""
    run = AtOnce()

    assert len(at_once(run, 200, 3)) == 200
    assert 1 <= run.most <= 3


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
    monkeypatch.setattr(crew, "GRACE", SHORT)
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

    made = Crew(run, [(0, 0), (1, 1)], LONG, asked=2)
    found = made.outcomes(0.001)
    assert next(found) == []
    both_run.wait(LONG)
    made.running[0] -= 2 * LONG  # it is late
    outcomes = []
    for outcome in itertools.chain.from_iterable(found):
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

    made = Crew(run, [(n, n) for n in range(5)], LONG, asked=2)
    found = made.outcomes(0.001)
    assert next(found) == []
    both_run.wait(LONG)
    made.over -= 2 * LONG
    for index in (0, 1):
        made.running[index] -= 2 * LONG
    assert [(o.index, o.ok) for outcomes in found for o in outcomes] == [(0, False), (1, False)]


def test_a_caller_is_never_left_without_a_word(release: threading.Event) -> None:
    """While nothing ends there is an empty list, tick by tick, so that the workflow can be asked whether it goes on."""
    found = Crew(lambda _: release.wait(LONG), [(0, 0)], LONG, asked=1).outcomes(0.001)
    assert [next(found), next(found)] == [[], []]
    release.set()
    assert [o.index for outcomes in found for o in outcomes] == [0]


def test_no_item_of_a_crew_starts_once_the_worker_is_stopping() -> None:
    """Items that run finish and count; the rest has no outcome."""
    size = 3
    barrier = threading.Barrier(size, action=stopping.mark)
    outcomes = at_once(lambda _: barrier.wait(LONG), 20, size)
    assert sorted(o.index for o in outcomes) == [0, 1, 2]


def test_who_is_late_is_looked_up_while_nobody_changes_the_list(release: threading.Event) -> None:
    """Members add to it whenever they begin an item."""
    made = Crew(lambda _: release.wait(LONG), [(0, 0)], LONG, asked=1)
    held = []

    class Watched(dict[int, float]):
        def items(self) -> Any:
            held.append(made.lock.locked())
            return super().items()

    made.running = Watched(made.running)
    assert next(made.outcomes(0.001)) == []
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
from switchyard.workflows.crew import Crew, runs_concurrently
from switchyard.workflows.items import one_by_one
assert runs_concurrently()
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
together = [o for outcomes in Crew(run, todo, 2).outcomes(tick=0.01) for o in outcomes]
for outcomes in (together, one_by_one(run, todo[1:2], 2)):
    print(json.dumps({o.index: o.error for o in outcomes}))
"""


def test_a_greenlet_that_hangs_is_interrupted(python: Callable[..., str]) -> None:
    """By gevent's own timeout; one that the item itself set is the item's failure, and ends nothing else."""
    together, alone = (json.loads(line) for line in python(GREEN_ITEMS).splitlines() if line.startswith("{"))
    assert (together["0"], together["1"], together["3"]) == ("", "exceeded its time limit of 2 s", "")
    assert together["2"].startswith("Timeout: ")
    assert alone == {"1": "exceeded its time limit of 2 s"}


# --- How many


def test_what_has_asked_for_no_number_runs_as_many_as_the_process_may() -> None:
    """All of them at one point at the same time."""
    barrier = threading.Barrier(pace.BEGIN)
    outcomes = at_once(lambda _: barrier.wait(LONG), pace.BEGIN, None)
    assert [o.error for o in outcomes] == [""] * pace.BEGIN


def test_chunks_share_what_a_process_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them there are, and whenever they begin; when all but one have ended, it has room for all of its items."""
    monkeypatch.setattr(pace, "BEGIN", 8)
    monkeypatch.setattr(pace, "LEAST", 8)
    shared = pace.Pace()
    monkeypatch.setattr(crew, "pace", shared)
    run = AtOnce()

    chunks = [threading.Thread(target=at_once, args=(run, 100, None)) for _ in range(4)]
    for chunk in chunks:
        chunk.start()
    for chunk in chunks:
        chunk.join()
    # One member each in any case, and it may be judged a step higher.
    assert 2 <= run.most <= shared.limit + 4 + 8
    assert not shared.crews


def test_a_number_that_was_asked_for_has_a_bound_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of connections are made for so many."""
    monkeypatch.setattr(pace, "MOST", 4)
    run = AtOnce()

    assert len(at_once(run, 50, 16)) == 50
    assert run.most <= 4


def test_no_item_begins_while_results_that_are_not_recorded_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis may be away while large results come in; once they are taken, the others begin, and none is lost."""
    monkeypatch.setattr(crew, "HOLD_BYTES", 1000)
    begun: list[int] = []

    def run(item: int) -> str:
        begun.append(item)
        return "x" * 1000

    found = Crew(run, [(n, n) for n in range(20)], LONG, asked=2).outcomes(tick=LONG)
    first = next(found)
    assert len(begun) == len(first) <= 4
    assert len(first) + sum(len(outcomes) for outcomes in found) == 20


def test_what_has_ended_can_be_taken_before_its_time() -> None:
    """By who gives the chunk back: it is recorded, and not run again."""
    ended = threading.Event()
    made = Crew(lambda item: item if item == 0 else ended.wait(LONG), [(0, 0), (1, 1)], LONG, asked=2)
    found = made.outcomes(tick=0.001)
    taken = [o.index for o in next(found)]
    while not taken:
        taken = [o.index for o in made.take()]
    assert taken == [0]
    ended.set()
    assert [o.index for outcomes in found for o in outcomes] == [1]


def test_nothing_begins_for_somebody_who_has_gone() -> None:
    """Who gave up asking does not record what comes: the rest has no outcome, and its message runs again."""
    begun = []
    barrier = threading.Barrier(2)

    def run(item: int) -> None:
        begun.append(item)
        barrier.wait(LONG)

    found = Crew(run, [(n, n) for n in range(5)], LONG, asked=1).outcomes(tick=0.001)
    next(found)
    found.close()
    barrier.wait(LONG)
    assert begun == [0]


# --- What an item is told of itself


def test_an_item_knows_the_task_that_it_runs_as() -> None:
    """As at every call of a task, bound or not; and its own arguments reach it, not another item's."""
    from celery import Celery, current_task

    with Celery("shop", set_as_current=False) as app:

        @app.task(bind=True, name="shop.check", shared=False)
        def check(self: Any, item: int) -> list[Any]:
            return [self.name, current_task.name, self.request.called_directly, item]

        found = Crew(app.tasks["shop.check"], [(n, n) for n in range(20)], LONG, asked=3).outcomes(tick=0.01)
        results = {o.index: json.loads(o.result) for outcomes in found for o in outcomes}
    assert results == {n: ["shop.check", "shop.check", True, n] for n in range(20)}


def test_what_a_tasks_class_does_at_a_call_is_done_for_every_item() -> None:
    """Somebody's own base class, that counts calls, say."""
    from celery import Celery, Task

    called = []

    class Counting(Task):  # type: ignore[type-arg]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            called.append(args)
            return super().__call__(*args, **kwargs)

    with Celery("shop", set_as_current=False) as app:

        @app.task(base=Counting, name="shop.count", shared=False)
        def count(item: int) -> int:
            return item

        found = Crew(app.tasks["shop.count"], [(n, n) for n in range(5)], LONG, asked=2).outcomes(tick=0.01)
        assert sorted(o.index for outcomes in found for o in outcomes) == [0, 1, 2, 3, 4]
    assert sorted(called) == [(n,) for n in range(5)]


def test_an_item_does_not_find_what_another_one_has_bound() -> None:
    """Whichever of them began it: a log line would name another item's customer."""
    bound: ContextVar[str] = ContextVar("bound", default="nothing")
    both_run = threading.Barrier(4)

    def run(item: int) -> str:
        found = bound.get()
        bound.set(f"by {item}")
        both_run.wait(LONG)
        return found

    found = Crew(run, [(n, n) for n in range(4)], LONG, asked=4).outcomes(tick=0.01)
    assert {json.loads(o.result) for outcomes in found for o in outcomes} == {"nothing"}
