"""A project whose items do everything an item should not."""

from celery import Celery

app = Celery("project")
app.config_from_object("switchyard.celeryconfig")
app.autodiscover_tasks(["project"])
