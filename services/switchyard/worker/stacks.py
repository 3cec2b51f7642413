"""Celery's stacks of running tasks and of their requests, on the interpreter's own thread-locals.

Celery's own thread-locals are written in Python, and made a tenth of a task that does nothing; these cost a third of that. In a gevent
worker they are gevent's, so that each greenlet has its own.
"""

from __future__ import annotations

import threading
from typing import Any

from celery._state import _task_stack  # type: ignore[attr-defined]  # its stubs lack it
from celery.utils.threads import Local


class ThreadLocal(threading.local):
    """What `celery.utils.threads.Local` is to a stack."""

    def __release_local__(self) -> None:
        self.__dict__.clear()


def quicken(app: Any) -> None:
    """Have the stacks of all tasks keep what is on them there, before any task runs; doing it again changes nothing."""
    for stack in (_task_stack, *(task.request_stack for task in app.tasks.values())):
        if type(getattr(stack, "_local", None)) is Local:  # Celery has others, for whoever asks for USE_FAST_LOCALS
            stack._local = ThreadLocal()  # noqa: SLF001
