"""One row per program: its state, how long it has had it, and what waits for it. Either runtime makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from switchyard.runtime.counts import Counts

#: Tells a person what is being done.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """A program of the deployment. `waiting` is the messages in a worker's queue, for the consumer the events in the broker
    and the workflows to be published; `held` those that workers have taken; `delayed` those that are not due yet; `oldest_s` how
    long the first of the queue has waited. None for any other program, and for what cannot be read.
    """

    name: str
    state: str
    pid: int
    uptime_s: int
    waiting: int | None
    held: int | None = None
    oldest_s: float | None = None
    delayed: int | None = None


def row(name: str, state: str, pid: int, uptime_s: int, found: Counts) -> Row:
    """A row of what a runtime knows of a program and of what Redis has for it."""
    waiting, held, delayed = (each.get(name) for each in (found.waiting, found.held, found.delayed))
    return Row(name, state, pid, uptime_s, waiting, held, found.oldest_s.get(name), delayed)


#: The share of DEAD_LETTERS_MAX from which on somebody is told; how that sentence begins.
NEARLY, NEARLY_FULL = 0.8, "Dead letters are at "


def kept(refused: int, set_aside: int, most: int) -> list[str]:
    """A sentence for each kind of what was kept because it could not be done, and one where it is about to be dropped: from 80 % of
    `most` dead letters on.
    """
    sentences = [
        f"{number:,} {one if number == 1 else many}: make {target}"
        for number, one, many, target in (
            (refused, "refused event is kept", "refused events are kept", "refused"),
            (set_aside, "message is set aside", "messages are set aside", "dead-letters"),
        )
        if number
    ]
    if set_aside >= NEARLY * most:
        sentences.append(
            f"{NEARLY_FULL}{set_aside / most:.0%} of DEAD_LETTERS_MAX ({most:,}), beyond which the oldest are dropped. Replay or "
            "drop some (make dead-letters), or raise it in .env and say make up."
        )
    return sentences
