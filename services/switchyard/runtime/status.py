"""One row per program: its state, how long it has had it, and what waits for it. Either runtime makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Tells a person what is being done.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """A program of the deployment. `waiting` is the messages in a worker's queue, for the consumer the events in the broker
    and the workflows to be published; None for any other program, and for what cannot be read.
    """

    name: str
    state: str
    pid: int
    uptime_s: int
    waiting: int | None


def refused_events(number: int) -> str:
    """A sentence while refused events are kept; empty when there are none."""
    are = "event is" if number == 1 else "events are"
    return f"{number:,} refused {are} kept: make refused" if number else ""
