"""Two cores, on a machine of any number: what is compared has the same, here and there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_two_cores() -> Iterator[None]:
    """Everything that is started meanwhile, Redis included, runs on this process' first two cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
