"""Threads of the operating system, also where the pool has put greenlets in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu.utils.compat import detect_environment


def real_thread() -> tuple[Callable[..., Any], Callable[[float], None]]:
    """`start_new_thread(function, arguments)` and `sleep(seconds)` of the operating system.

    Such a thread runs whatever the pool's tasks do, as long as they let go of the interpreter's lock now and then.
    """
    environment = detect_environment()
    if environment == "gevent":
        from gevent.monkey import get_original  # noqa: PLC0415  only where it is what runs the tasks

        return get_original("_thread", "start_new_thread"), get_original("time", "sleep")
    if environment == "eventlet":
        from eventlet.patcher import original  # noqa: PLC0415  only where it is installed

        return original("_thread").start_new_thread, original("time").sleep
    import _thread  # noqa: PLC0415  beside its one use
    import time  # noqa: PLC0415  as the others: not the name that a monkey has patched

    return _thread.start_new_thread, time.sleep
