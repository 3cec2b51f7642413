"""Whether this process is a worker, and whether it has been told to stop. Children forked by the prefork pool see their parent's."""

from __future__ import annotations

import mmap
from collections.abc import Callable

#: What to do if this process' tasks are given back while they run, besides giving them back.
handed_back: set[Callable[[], object]] = set()

_flags = mmap.mmap(-1, 2)


def begin() -> None:
    """Called by a worker's main process when it begins; another one may have ended in it before, as in a test's."""
    _flags[0], _flags[1] = 0, 1


def end() -> None:
    """Called when that worker has ended; its process may go on, as a test's does."""
    _flags[1] = 0


def is_worker() -> bool:
    """Whether tasks of this process go on when their connection is lost."""
    return _flags[1] == 1


def mark() -> None:
    """Called by the main process when it gets its stop signal."""
    _flags[0] = 1


def is_set() -> bool:
    """Whether to stop at the next boundary."""
    return _flags[0] == 1
