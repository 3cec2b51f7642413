"""Single rows come in from many callers at once, one write per few hundred rows goes out to the store.

A transaction costs far more than a row in it. So callers that come together share one: the first leads, waits a few
milliseconds for others to join, writes for all and wakes each with its own outcome. A leader writes one batch, its own
row in it, and hands on: nobody serves others for ever. Made of `threading` alone, so it serves threads and, where
gevent has patched them, greenlets.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: A row, as the statement behind `write` takes it.
Row = Mapping[str, Any]

#: Seconds a leader lets others join; a lone caller pays this much for the others' gain.
GATHER_S = 0.004
#: Rows in one transaction; more would make other processes wait long for the database.
MOST_ROWS = 300


class _Entry:
    """A row on its way, and what became of it."""

    __slots__ = ("error", "pending", "row", "woken")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.pending = True
        self.error: Exception | None = None
        self.woken = threading.Lock()  # held until the caller has its outcome or leads; cheaper than an Event
        self.woken.acquire()

    def finish(self, error: Exception | None = None) -> None:
        self.error, self.pending = error, False
        self.woken.release()


class GroupCommit:
    """Shares the transactions of `write`, which writes all rows it is given or raises and writes none."""

    def __init__(self, write: Callable[[Sequence[Row]], None], *, blameless: type[Exception]) -> None:
        """`blameless` is the error that no row is guilty of (the database is away): rows are not tried one by one."""
        self._write = write
        self._blameless = blameless
        self._lock = threading.Lock()
        self._waiting: deque[_Entry] = deque()
        self._leader: _Entry | None = None

    def save(self, row: Row) -> None:
        """Return once `row` is committed. Raises what `write` raises for this row, or for all when it is blameless."""
        entry = _Entry(row)
        self._join(entry)
        try:
            entry.woken.acquire()
            if entry.pending:  # woken without an outcome: it is our turn to lead
                self._lead(entry)
        finally:
            if entry.pending or self._leader is entry:
                self._leave(entry)
        if entry.error is not None:
            raise entry.error

    def _join(self, entry: _Entry) -> None:
        with self._lock:
            self._waiting.append(entry)
            if self._leader is None:
                self._appoint()

    def _appoint(self) -> None:
        """Let the longest waiting caller lead, if there is one. The caller holds the lock."""
        self._leader = self._waiting[0] if self._waiting else None
        if self._leader is not None:
            self._leader.woken.release()

    def _lead(self, leader: _Entry) -> None:
        if len(self._waiting) < MOST_ROWS:
            time.sleep(GATHER_S)
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(MOST_ROWS, len(self._waiting)))]
        try:
            self._write_batch(batch)
        except BaseException:
            # Only the leader was stopped (a time limit, a shutdown). Its batch may be written or not, and writing
            # it twice does no harm, so the others wait for the next leader.
            with self._lock:
                self._waiting.extendleft(entry for entry in reversed(batch) if entry.pending and entry is not leader)
            raise

    def _write_batch(self, batch: Sequence[_Entry]) -> None:
        try:
            self._write([entry.row for entry in batch])
        except self._blameless as exc:
            error: Exception | None = exc
        except Exception:  # noqa: BLE001 - whatever it is, the row that is guilty of it is found by itself
            self._write_singly(batch)
            return
        else:
            error = None
        for entry in batch:
            entry.finish(error)

    def _write_singly(self, batch: Sequence[_Entry]) -> None:
        # One bad row has undone the whole batch; alone, it fails alone.
        for entry in batch:
            try:
                self._write([entry.row])
            except Exception as exc:  # noqa: BLE001 - each caller gets the error of its own row
                entry.finish(exc)
            else:
                entry.finish()

    def _leave(self, entry: _Entry) -> None:
        """Hand leadership on; forget the row of a caller that was stopped while it waited, lest it be made leader."""
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
            if self._leader is entry:
                self._appoint()
