"""How many items run at once, by how many end a second; and how large chunks are."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from switchyard.queue import Queue
from switchyard.workflows import pace, sizing


class Members:
    """A crew that always has as many members as it may."""

    def __init__(self, members: int = 0) -> None:
        self.members = members


def limits(
    monkeypatch: pytest.MonkeyPatch, rate: Callable[[int], float], judgements: int, members: int | None = None
) -> list[int]:
    """The limits of a process in which `rate(limit)` items end a second."""
    now = 0.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    made, crew, found = pace.Pace(), Members(), []
    made.crews.add(crew)
    for _ in range(judgements):
        crew.members = made.limit if members is None else members
        before, a_second = made.limit, rate(made.limit)
        for _ in range(2 * before + math.ceil(1.1 * pace.JUDGED_S * a_second)):
            now += 1 / a_second
            made.note_end()
            if made.limit != before:
                break
        found.append(made.limit)
    return found


def test_items_that_only_wait_run_as_many_at_once_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step up has brought what it could, up to the bound."""
    found = limits(monkeypatch, lambda limit: limit / 0.05, 20)
    assert found == sorted(found)
    assert found[-1] == pace.MOST


def test_items_that_compute_run_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them have brought nothing, and fewer cost nothing."""
    found = limits(monkeypatch, lambda _: 1000.0, 40)
    assert max(found[-5:]) <= pace.LEAST * (1 + 1 / pace.STEP)


@pytest.mark.parametrize("knee", [40, 100, 200, 400])
def test_the_limit_stays_where_the_gain_ends(monkeypatch: pytest.MonkeyPatch, knee: int) -> None:
    """As many as the machine, or whoever is waited for, can serve; not more than two steps off."""
    found = limits(monkeypatch, lambda limit: min(limit, knee) / 0.05, 60)
    assert all(knee / 2 <= limit <= knee * 2 for limit in found[-20:]), found


def test_the_limit_finds_the_end_of_the_gain_again_when_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked becomes slow, and with it everything; that is no reason to run fewer at once."""
    asked = 0

    def rate(limit: int) -> float:
        nonlocal asked
        asked += 1
        return limit / (0.05 if asked < 60 else 1.0)

    assert limits(monkeypatch, rate, 60)[-1] >= pace.MOST * (1 - 1 / pace.STEP) - 1


def test_what_never_fills_the_limit_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few items at a time say nothing about how many could run."""
    assert set(limits(monkeypatch, lambda _: 100.0, 20, members=3)) == {pace.BEGIN}


@pytest.mark.parametrize(
    ("crews", "asked", "share"),
    [
        # alone: all there is; what was asked for is not more than there is
        (1, None, pace.BEGIN),
        (1, 16, 16),
        (1, 10_000, pace.MOST),
        # with others: the same for each, and one in any case
        (16, None, pace.BEGIN // 16),
        (16, 100, pace.MOST // 16),
        (1000, None, 1),
        (1000, 5, 1),
    ],
)
def test_each_chunk_has_the_same_part(crews: int, asked: int | None, share: int) -> None:
    """Of what its process may run."""
    made = pace.Pace()
    made.crews.update(Members() for _ in range(crews))
    assert made.share(asked) == share


def queue(pool: str, slots: int) -> Queue:
    return Queue.model_validate({"name": "some_queue", "pool": pool, "concurrency": slots})


@pytest.mark.parametrize(
    ("count", "pool", "slots", "seconds", "size"),
    [
        # nothing, and little: every item may have a slot of its own
        (0, "gevent", 16, None, 1),
        (1, "gevent", 16, None, 1),
        (64, "gevent", 16, None, 1),
        # every slot has four chunks
        (5_000, "gevent", 16, None, 79),
        (100, "prefork", 2, None, 13),
        # many: messages are not to be endless, nor chunks
        (92_331, "gevent", 16, None, 500),
        (10_000_000, "solo", 1, None, 500),
        # items whose time is known: a chunk takes two seconds, with as many at once as its slot may have
        (92_331, "gevent", 16, 0.05, 320),
        (92_331, "prefork", 2, 0.05, 40),
        # a longer one is a message of its own
        (1_000, "prefork", 2, 30.0, 1),
        (1_000, "gevent", 16, 600.0, 1),
        # a time that is next to nothing changes nothing
        (92_331, "prefork", 2, 0.000_001, 500),
        (5_000, "threads", 16, 0.0, 79),
    ],
)
def test_the_size_of_chunks(count: int, pool: str, slots: int, seconds: float | None, size: int) -> None:
    """By the number of items, the queue, and what an item took lately."""
    assert sizing.chunk_size(count, queue(pool, slots), seconds) == size
