"""A supervised process ends with its supervisor: killed outright, supervisord would leave orphans that nobody can stop."""

from __future__ import annotations

import ctypes
import signal
import sys

#: From linux/prctl.h; it outlives exec.
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; Linux only, elsewhere nothing is done.

    SIGKILL, because all die at once: a worker that was asked politely would wait for a Redis that is gone as well.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
