"""The project that the drilled workers run. Each begin and end of a task is a line in a file that no broker knows of."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.drills.ledger import LEDGER
from celery import Celery

from switchyard.settings import settings
from switchyard.workflows import current, fan_out

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


def item(number: int) -> int:
    """Wait a little, and say which it was."""
    workflow = current()
    name = f"{queue}.{workflow.id if workflow else ''}.{number}"
    note("begun", name)
    time.sleep(0.002)
    note("ended", name)
    return number


def spread(items: int) -> None:
    """Fan out, from a source that takes its time."""

    def source() -> Iterator[int]:
        for number in range(items):
            time.sleep(0.001)
            yield number

    fan_out(f"drill.{queue}.item", source(), callback=f"drill.{queue}.collect", chunk_size=50)


def collect(results: list[Any]) -> int:
    """Call back as to the outside: note the key, and whether each result is there, in order."""
    workflow = current()
    line = {
        "id": workflow and workflow.id,
        "attempt": workflow and workflow.attempt,
        "right": results == list(range(len(results))),
        "results": len(results),
    }
    with Path(f"{os.environ[LEDGER]}.calls").open("a") as file:
        file.write(f"{json.dumps(line)}\n")
    time.sleep(0.3)
    return len(results)


queue = settings().queue
if queue:
    for task in (item, spread, collect):
        app.task(name=f"drill.{queue}.{task.__name__}")(task)
