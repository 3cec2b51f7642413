"""What starts workflows: an app that publishes by task name and knows no task's code."""

from celery import Celery

app = Celery("producer")
app.config_from_object("switchyard.celeryconfig")
