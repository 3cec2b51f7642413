"""Somebody's Celery app, as it was before Switchyard, but for its one line of config."""

from celery import Celery

app = Celery("shop")
app.config_from_object("switchyard.celeryconfig")
app.autodiscover_tasks(["shop"])
