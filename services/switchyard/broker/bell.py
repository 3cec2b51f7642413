"""Wakes the loop that polls, from any thread or greenlet: there is something to settle, to fetch or to hand on."""

from __future__ import annotations

import os
from contextlib import suppress


class Bell:
    """A pipe that is opened when somebody listens; before and after, ringing does nothing."""

    def __init__(self) -> None:
        self._ends: tuple[int, int] | None = None
        self._rung = False

    @property
    def fd(self) -> int:
        """What to poll."""
        if self._ends is None:
            self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self._ends[0]

    def ring(self) -> None:
        """Once until it is heard, however often."""
        ends = self._ends
        if ends and not self._rung:
            self._rung = True
            with suppress(OSError):  # closed just now
                os.write(ends[1], b"!")

    def heard(self) -> None:
        """The loop is awake, and looks at what there is to do after this."""
        if self._ends:
            with suppress(BlockingIOError):
                os.read(self._ends[0], 64)
        # Last: were it first, a thread that rings meanwhile would have its ring read, and be taken for one that is still to be heard.
        self._rung = False

    def close(self) -> None:
        """Nobody listens any more."""
        ends, self._ends = self._ends, None
        for fd in ends or ():
            os.close(fd)
