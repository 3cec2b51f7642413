"""Celery as a deployment of ours has it: the app that `python -m switchyard worker` runs."""

from __future__ import annotations

from bench.systems.celery_tasks import send
from celery import Celery

app = Celery("ours")
app.config_from_object("switchyard.celeryconfig")

__all__ = ["app", "send"]
