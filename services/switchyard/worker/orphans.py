"""A supervised process ends with its supervisor: killed outright, supervisord would leave orphans that nobody can stop."""

from __future__ import annotations

import ctypes
import signal
import sys

#: From linux/prctl.h; it outlives exec.
_PR_SET_PDEATHSIG = 1


def stop_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent dies; Linux only, elsewhere nothing is done."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
