"""Items of one chunk in, an outcome for each out, many at once: on gevent, eventlet and threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from typing import Any

from kombu.utils.compat import detect_environment

from switchyard.worker import stopping
from switchyard.workflows.items import Outcome, call, entered, exceeded
from switchyard.workflows.pace import pace

#: Seconds an item may outlive its limit before its thread is given up: threads cannot be interrupted.
GRACE = 2.0
#: Bytes of results that wait for whoever records them, beyond which he is woken, and beyond which no further item begins.
WAKE_BYTES, HOLD_BYTES = 1024**2, 8 * 1024**2


def _never() -> bool:
    return False


def runs_concurrently() -> bool:
    """Whether this pool can run several items of a chunk at once."""
    return detect_environment() != "default" or threading.current_thread() is not threading.main_thread()


def call_alone(function: Callable[[Any], Any], index: int, item: Any, limit: float) -> Outcome:
    """One item, within `limit` on every pool: in a thread that can be given up where the pool cannot interrupt it."""
    if runs_concurrently() and detect_environment() == "default":
        found = [o for outcomes in Crew(function, [(index, item)], limit, asked=1).outcomes(tick=0.2) for o in outcomes]
        if not found:
            raise RuntimeError("the worker was told to stop before the item began; its message runs again")
        return found[0]
    return call(function, index, item, limit)


class Crew:
    """Runs items at once, in daemon threads; where gevent or eventlet has patched `threading`, these are greenlets.

    No more than `asked` of them, or as many as pay off; and never more than its part of what this process runs (`pace`).
    """

    def __init__(
        self, function: Callable[[Any], Any], todo: Sequence[tuple[int, Any]], limit: float, *,
        asked: int | None = None, ended: Callable[[], bool] = _never,
    ) -> None:  # fmt: skip
        self.function, self.limit, self.asked, self.ended = function, limit, asked, ended
        #: What each item finds bound, and not what another one has bound meanwhile.
        self.context = copy_context()
        self.over = time.monotonic() + limit
        self.todo = deque(todo)
        self.lock = threading.Lock()
        #: Since when each item runs, by its index.
        self.running: dict[int, float] = {}
        self.finished: deque[Outcome] = deque()
        #: Bytes of the results in it.
        self.held = 0
        #: Threads that run or look for items.
        self.members = 0
        #: No further item begins.
        self.exhausted = not self.todo
        #: There is something that should not wait for the next tick.
        self.news = threading.Event()

    def outcomes(self, tick: float) -> Iterator[list[Outcome]]:
        """Outcomes as they come, at least every `tick` seconds, be it none; the items run while somebody asks for these."""
        pace.crews.add(self)
        try:
            while True:
                self._grow()
                if self.members:
                    self.news.wait(tick)
                self.news.clear()
                over = not self.members and (self.exhausted or self._is_over())
                yield [*self.take(), *self._given_up()]
                if over:
                    return
        finally:
            self.exhausted = True  # nobody asks any more
            pace.crews.discard(self)

    def take(self) -> list[Outcome]:
        """What has ended, and was not taken yet."""
        with self.lock:
            taken, self.finished, self.held = list(self.finished), deque(), 0
        return taken

    def _grow(self) -> None:
        while self._may_grow():
            threading.Thread(target=self.context.copy().run, args=(self._work,), daemon=True).start()

    def _may_grow(self) -> bool:
        if self.members >= pace.share(self.asked):  # as nearly always: no lock is needed to see that
            return False
        with self.lock:
            # Those that have begun nothing yet take one each.
            wanted = len(self.todo) > self.members - len(self.running) and self.held < HOLD_BYTES
            if may := wanted and not self.exhausted and pace.room(self, self.asked):
                self.members += 1
            return may

    def _work(self) -> None:
        with entered(self.function) as run:
            found = self._next(None)
            while found is not None:
                self._grow()  # others may have ended meanwhile, and left it more room
                found = self._next(call(run, *found, self.limit))

    def _next(self, outcome: Outcome | None) -> tuple[int, Any] | None:
        """Hand in an outcome; the next item, or None for a member that is not to go on."""
        with self.lock:
            if outcome is not None:
                if self.running.pop(outcome.index, None) is None:
                    return None  # it was given up: whatever it has done since, nobody waits for it
                self.finished.append(outcome)
                self.held += len(outcome.result)
            if (found := self._begun()) is None:
                self.members -= 1
            if self.held >= WAKE_BYTES or not self.members:
                self.news.set()
        if outcome is not None and self.asked is None:
            pace.note_end()
        return found

    def _begun(self) -> tuple[int, Any] | None:
        if self._is_over():
            self.exhausted = True
        if self.exhausted or self.members > pace.share(self.asked) or self.held >= HOLD_BYTES:
            return None
        index, item = self.todo.popleft()
        self.running[index] = time.monotonic()
        return index, item

    def _is_over(self) -> bool:
        return not self.todo or stopping.is_set() or self.ended() or time.monotonic() > self.over

    def _given_up(self) -> Iterator[Outcome]:
        with self.lock:  # members add to it while it is read
            late = [i for i, begun in self.running.items() if time.monotonic() - begun > self.limit + GRACE]
            for index in late:
                del self.running[index]
                self.members -= 1  # its thread is stuck
            return iter([exceeded(index, self.limit) for index in late])
