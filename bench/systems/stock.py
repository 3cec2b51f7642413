"""Celery as it comes, on kombu's own Redis transport: acknowledged late, as ours is, and with connections enough for its greenlets."""

from __future__ import annotations

import os

from bench.systems.celery_tasks import send
from celery import Celery

app = Celery("stock", broker=os.environ["CELERY_BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # Its ten would lose acknowledgements of greenlets.
    broker_transport_options={"max_connections": 300},
    broker_connection_retry_on_startup=True,
)

__all__ = ["app", "send"]
