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


def caller() -> Callable[[Callable[[], object]], None]:
    """How a thread of the operating system has something called where the process' connections belong: on gevent by a greenlet
    of this thread's hub, soon, elsewhere by a thread of its own. Neither waits for it.
    """
    if detect_environment() == "gevent":
        import gevent  # noqa: PLC0415  only where it is what runs the tasks

        hub = gevent.get_hub()
        return lambda function: hub.loop.run_callback_threadsafe(gevent.spawn, function)
    start_thread, _ = real_thread()
    return lambda function: start_thread(function, ())
