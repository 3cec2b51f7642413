"""Somebody's tasks; none of them knows Switchyard."""

import os
import time

from celery import chain, group, shared_task


@shared_task
def add(x, y):
    return x + y


@shared_task(name="shop.total")
def total(amounts):
    return sum(amounts)


@shared_task
def invoice(prices):
    """A plain chain of a group and its callback, as the Celery documentation has it."""
    return chain(group(add.s(price, 1) for price in prices), total.s()).apply_async().id


@shared_task(bind=True, max_retries=2, default_retry_delay=0)
def flaky(self):
    if self.request.retries < 2:
        raise self.retry()
    return self.request.retries


@shared_task
def slow(seconds):
    time.sleep(seconds)
    return os.getpid()
