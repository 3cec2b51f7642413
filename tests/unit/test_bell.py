"""What wakes the loop of a leased worker: no ring is lost, whenever it comes."""

from __future__ import annotations

import os
import select

import pytest

from switchyard.broker.bell import Bell


def rings(bell: Bell) -> bool:
    return bool(select.select([bell.fd], [], [], 0)[0])


def test_a_bell_is_heard_once_however_often_it_rings() -> None:
    """Until it is heard; then it can be rung again."""
    bell = Bell()
    assert not rings(bell)
    bell.ring()
    bell.ring()
    assert rings(bell)
    bell.heard()
    assert not rings(bell)
    bell.ring()
    assert rings(bell)
    bell.close()
    bell.ring()


def test_a_bell_that_is_rung_while_it_is_heard_rings_afterwards_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread may run in the middle of it. Whoever hears looks at what there is to do afterwards, so that ring may go; the next
    may not, and did.
    """
    bell = Bell()
    assert not rings(bell)  # nobody hears before somebody listens
    bell.ring()
    read = os.read

    def read_after_another_ring(fd: int, size: int) -> bytes:
        bell.ring()
        return read(fd, size)

    monkeypatch.setattr(os, "read", read_after_another_ring)
    bell.heard()
    monkeypatch.undo()
    bell.ring()
    assert rings(bell)
    bell.close()
