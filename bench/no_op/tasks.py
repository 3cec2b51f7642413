"""The two apps that `bench no_op` has its workers run, and their tasks, which do nothing but note that they were begun.

`ours` is what a deployment runs. `kombus` is the same with kombu's own Redis transport: the baseline.
"""

from __future__ import annotations

import os
import time
from typing import Any

from bench.notes import NAME, PREFETCH, note_of, transport_file
from celery import Celery, bootsteps, shared_task
from celery.signals import worker_ready

from switchyard.health import note_ready
from switchyard.settings import settings

#: Options that only our transport knows.
_OURS_ALONE = ("lease", "max_deliveries")

_name, _state_dir = os.environ[NAME], settings().state_dir


@shared_task(name="bench.no_op", ignore_result=True)
def no_op() -> None:
    """Do nothing."""
    note_of(_state_dir, _name, os.getpid()).add()


@shared_task(name="bench.pause", ignore_result=True)
def pause() -> None:
    """Wait 50 ms, as for an answer."""
    note_of(_state_dir, _name, os.getpid()).add()
    time.sleep(0.05)


class _Prefetch(bootsteps.Step):
    """Holds as many messages as it is told: a multiplier cannot make 64 of 50 slots."""

    def __init__(self, consumer: Any, **_: Any) -> None:
        consumer.initial_prefetch_count = int(os.environ[PREFETCH])


def _made(name: str) -> Celery:
    app = Celery(name)
    app.config_from_object("switchyard.celeryconfig")
    app.steps["consumer"].add(_Prefetch)
    return app


kombus = _made("kombus")
kombus.conf.broker_transport = None
kombus.conf.broker_transport_options = {
    key: value for key, value in kombus.conf.broker_transport_options.items() if key not in _OURS_ALONE
}
ours = _made("ours")


@worker_ready.connect
def _say_so(sender: Any, **_: Any) -> None:
    note_ready(_state_dir, _name)
    cls = type(sender.connection.transport)
    transport_file(_state_dir, _name).write_text(f"{cls.__module__}.{cls.__qualname__}")
