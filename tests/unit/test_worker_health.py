"""Whether a worker is well, decided from what it runs and when its last fetch was answered. No Redis, no worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport.redis import Transport as StockTransport

from switchyard.broker.transport import Transport
from switchyard.queue import Queue
from switchyard.worker.health import is_busy, is_well


@pytest.mark.parametrize(
    ("running", "slots", "busy"),
    [
        # every slot has a task, and each is within its limit
        ([(1, 10)], 1, True),
        ([(1, 10), (9.9, 10)], 2, True),
        # autoscale has just taken a slot away
        ([(1, 10), (1, 10)], 1, True),
        # a slot is free, so it should fetch
        ([], 1, False),
        ([(1, 10)], 2, False),
        # one is stuck
        ([(1, 10), (10, 10)], 2, False),
        ([(1, 10), (5, 4), (1, 10)], 3, False),
    ],
)
def test_a_worker_is_busy_while_every_slot_runs_a_task_within_its_limit(
    running: list[tuple[float, float]], slots: int, busy: bool
) -> None:
    """Each task with the seconds it runs, and those it may."""
    assert is_busy(running, slots) is busy


def worker(connection: Any) -> SimpleNamespace:
    """What is asked of Celery's consumer, as it is with nothing to do."""
    return SimpleNamespace(connection=connection, pool=SimpleNamespace(num_processes=1))


def test_an_idle_worker_is_well_while_its_fetches_are_answered() -> None:
    """An answer counts for some seconds; a new connection has none yet, a closed one no transport, a lost one is None."""
    queue = Queue(name="a")
    transport = Transport.__new__(Transport)  # its own state only: no server, no client
    connected = worker(SimpleNamespace(_transport=transport))
    assert not is_well(connected, queue)
    transport.note_answer()
    assert is_well(connected, queue)
    assert not transport.consuming(within_s=0)
    assert not is_well(worker(SimpleNamespace(_transport=None)), queue)
    assert not is_well(worker(None), queue)


def test_a_worker_of_another_kind_of_broker_is_taken_for_well() -> None:
    """kombu's own transports do not say when they were answered."""
    assert is_well(worker(SimpleNamespace(_transport=StockTransport.__new__(StockTransport))), Queue(name="a"))
