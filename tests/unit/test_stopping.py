"""Whether a process is to stop: as its worker was told, and no later one in the same process."""

from __future__ import annotations

from switchyard.worker import stopping


def test_a_worker_is_not_told_to_stop_by_what_another_was_told_before_it() -> None:
    """As in a test's process, which may have one after the other."""
    for _ in range(2):
        stopping.begin()
        assert stopping.is_worker()
        assert not stopping.is_set()
        stopping.mark()
        assert stopping.is_set()
        stopping.end()
        assert not stopping.is_worker()
    stopping.begin()
    stopping.end()
