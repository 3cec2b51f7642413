"""The project that the drilled workers run. Each begin and end of a task is a line in a file that no broker knows of."""

from __future__ import annotations

import os
import signal
import time

from bench.drills.ledger import LEDGER
from celery import Celery

from switchyard.settings import settings

app = Celery("drill")
app.config_from_object("switchyard.celeryconfig")
app.conf.task_ignore_result = True
if settings().broker_transport == "stock":
    # kombu's way to get a dead worker's messages back, made as fast as a lease: by default it takes an hour.
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "visibility_timeout": settings().broker_lease,
        "unacked_restore_interval": 1,
    }


def note(event: str, name: str) -> None:
    """Add a line to the ledger: one write to a file opened for appending is never torn and never mixed with another.

    A worker is known by its process group, whose id is that of its main process.
    """
    line = f"{event} {name} {os.getpgrp()} {os.getpid()} {time.monotonic():.6f}\n"
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


@app.task(name="drill.work")
def work(name: str, seconds: float) -> None:
    """Wait, as for an answer."""
    note("begun", name)
    if seconds:
        time.sleep(seconds)
    note("ended", name)


@app.task(name="drill.burn")
def burn(name: str, seconds: float) -> None:
    """Compute in Python, and let nothing else of this process run but what the interpreter makes room for."""
    note("begun", name)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
    note("ended", name)


@app.task(name="drill.poison")
def poison(name: str) -> None:
    """Take the whole worker down, its children included."""
    note("begun", name)
    os.killpg(0, signal.SIGKILL)
