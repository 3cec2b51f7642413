"""Somebody's web process: it publishes with the app it always had, and waits for results."""

from shop.celery import app
from shop.tasks import flaky, invoice

callback = invoice.delay([1, 2, 3]).get(timeout=30)
print(app.AsyncResult(callback).get(timeout=30), flaky.delay().get(timeout=30))
