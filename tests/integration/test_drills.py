"""The drills of bench/drills in their shortest form: what they promise about kills, apart from how soon, holds on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from bench.drills.kind import Options
from bench.drills.kinds import KINDS
from bench.drills.outcome import Outcome
from bench.drills.running import drill

#: Drills and their sizes, those of a line one after another, the lines side by side: they mostly wait for leases to lapse. Where Redis is
#: killed, it holds nothing back while a disk is slow, which it may lose (docs/delivery.md).
LINES = (
    {"workers": Options(pools=("solo", "threads", "gevent", "prefork"), rounds=4)},
    {
        "poison": Options(pools=("solo",)),
        "delayed": Options(pools=("gevent", "prefork"), rounds=2, delayed=100, spread=8.0, fsync="no"),
    },
    {"children": Options(pools=("prefork",), rounds=2), "hostile": Options(pools=("solo", "prefork"))},
    {"redis-killed": Options(pools=("gevent", "prefork"), fsync="no"), "paused": Options(pools=("threads",))},
)


@pytest.fixture(scope="module")
def drills() -> Iterator[dict[str, Future[list[Outcome]]]]:
    """What each drill has counted, as soon as it is over."""
    found: dict[str, Future[list[Outcome]]] = {name: Future() for line in LINES for name in line}

    def run(line: dict[str, Options]) -> None:
        for name, options in line.items():
            try:
                found[name].set_result(drill(KINDS[name], "leased", options, lambda text: None))
            except BaseException as exc:
                found[name].set_exception(exc)

    # A worker ends with the thread that has started it: each line keeps its own until all are over.
    with ThreadPoolExecutor(len(LINES)) as threads:
        for line in LINES:
            threads.submit(run, line)
        yield found


def promises_are_kept(outcomes: list[Outcome]) -> bool:
    """Whether there is nothing to complain of; assert shows what there is."""
    assert [complaint for outcome in outcomes for complaint in outcome.broken] == []
    return True


def test_killed_workers_of_every_pool_lose_nothing_and_repeat_little(drills) -> None:
    outcomes = drills["workers"].result()
    assert promises_are_kept(outcomes)
    assert all(outcome.blows == 1 and outcome.accepted for outcome in outcomes)


def test_a_task_that_kills_its_worker_each_time_is_set_aside_and_its_neighbours_run(drills) -> None:
    assert promises_are_kept(drills["poison"].result())


def test_delayed_tasks_outlive_workers_and_redis_and_none_is_early(drills) -> None:
    assert promises_are_kept(drills["delayed"].result())


def test_a_prefork_child_that_is_killed_in_mid_task_costs_only_that_task(drills) -> None:
    assert promises_are_kept(drills["children"].result())


def test_what_is_no_message_is_set_aside_and_the_tasks_beside_it_run(drills) -> None:
    assert promises_are_kept(drills["hostile"].result())


def test_a_redis_that_is_killed_and_started_again_has_lost_nothing_that_it_had_accepted(drills) -> None:
    assert promises_are_kept(drills["redis-killed"].result())


def test_a_worker_that_was_stopped_for_longer_than_its_lease_does_not_undo_the_work_of_others(drills) -> None:
    assert promises_are_kept(drills["paused"].result())
