"""What starts workflows: an app that publishes by task name and knows no task's code."""

from celery import Celery

# Not the current app: whoever imports this has one of their own, and their tasks are to stay with it.
app = Celery("producer", set_as_current=False)
app.config_from_object("switchyard.celeryconfig")
