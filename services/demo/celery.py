"""The demo's Celery app, as any project would write it: one line takes the deployment's configuration."""

from celery import Celery

app = Celery("demo")
app.config_from_object("switchyard.celeryconfig")
