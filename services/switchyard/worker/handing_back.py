"""Seconds in; at their end, what a stopping prefork worker still runs goes back to its queue, and the worker ends.

Celery does both: its warm shutdown waits for running tasks, for ever, and its cold shutdown, which a second signal turns it
into, gives back what runs. Its soft shutdown would be both in one, but sleeps all of its time whatever ends earlier, and
acknowledges nothing meanwhile.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from celery import signals
from celery.worker.state import active_requests

from switchyard.logs import get_logger

log = get_logger(__name__)


def prepare(drain: float) -> None:
    """Have this worker, `drain` seconds after it is told to stop, give back what it runs by then."""
    timer = threading.Timer(drain, _hand_back)
    timer.daemon = True  # a worker whose tasks have ended does not wait for it

    def begin(how: str, **_: Any) -> None:
        # Cold: Celery gives back at once what runs. A second warm one changes nothing.
        if how == "Warm" and not timer.ident:
            timer.start()

    signals.worker_shutting_down.connect(begin, weak=False)


def _hand_back() -> None:
    if tasks := [request.id for request in list(active_requests)]:
        log.warning("tasks_handed_back", tasks=tasks)
        os.kill(os.getpid(), signal.SIGQUIT)
