"""One shared byte: whether this worker has been told to stop. Children forked by the prefork pool see their parent's."""

from __future__ import annotations

import mmap
from collections.abc import Callable

#: What to do if this process' tasks are given back while they run, besides giving them back.
handed_back: set[Callable[[], object]] = set()

_flag = mmap.mmap(-1, 1)


def mark() -> None:
    """Called by the main process when it gets its stop signal."""
    _flag[0] = 1


def is_set() -> bool:
    """Whether to stop at the next boundary."""
    return _flag[0] == 1
