"""What Celery and kombu do for each task and could do once: minimal cases, each beside what would do.

    make bench B=upstream

Needs no Redis and no worker. Each case is a few lines that show the cost where it is made; docs/upstream.md says what to change.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from bench.numbers import median, number
from bench.section import Section, show
from celery.app.task import Context
from celery.utils.collections import LimitedSet
from celery.utils.dispatch import Signal
from celery.utils.threads import _LocalStack
from kombu.utils.json import loads
from vine import promise

from switchyard.worker.stacks import ThreadLocal

#: Calls of one measurement, and measurements.
_CALLS, _ROUNDS = 5_000, 9

_BODY = '[[1], {"a": 2}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
_HEADERS = dict.fromkeys(
    (
        "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id", "parent_id",
        "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps",
    )
)  # fmt: skip


def _nothing(*_: object, **__: object) -> None:
    pass


def _run_on(stack: _LocalStack) -> None:
    """What a task's run asks of each of its two stacks, at least."""
    stack.push(_nothing)
    _ = stack.top
    stack.pop()


def _cases() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    listened = Signal(name="listened")
    listened.connect(_nothing)
    stacks, quick = (_LocalStack(), _LocalStack()), (_LocalStack(), _LocalStack())
    for stack in quick:
        stack._local = ThreadLocal()  # noqa: SLF001  as a worker here has them
    succeeded, ids = LimitedSet(maxlen=1000, expires=10_800), iter(range(10**9))
    return {
        "a task's Context: its headers, sought in a set that is made anew": (
            partial(Context, _HEADERS, args=(), kwargs={}),
            partial(Context, {**_HEADERS, "headers": {}}, args=(), kwargs={}),
        ),
        "a body, read for the request and again for the task": (
            lambda: (loads(_BODY), loads(_BODY)),
            lambda: loads(_BODY),
        ),
        "a signal with one receiver": (
            lambda: listened.send(sender=Context, task_id="id", task=Context, args=(), kwargs={}),
            lambda: _nothing(sender=Context, task_id="id", task=Context, args=(), kwargs={}),
        ),
        "promises to acknowledge and to reject, one of which is called": (
            lambda: (promise(_nothing, (1,)), promise(_nothing, (1,))()),
            lambda: (partial(_nothing, 1), partial(_nothing, 1)()),
        ),
        "the ids of what has succeeded, which nobody asks about unless worker_deduplicate_successful_tasks is set": (
            lambda: succeeded.add(next(ids)),
            lambda: next(ids),
        ),
        "the stacks of the task and of its request, whose thread-locals are written in Python": (
            lambda: [_run_on(stack) for stack in stacks],
            lambda: [_run_on(stack) for stack in quick],
        ),
    }


def _cost(call: Callable[[], object]) -> float:
    """Microseconds of processor time of one call."""
    began = time.process_time()
    for _ in range(_CALLS):
        call()
    return (time.process_time() - began) / _CALLS * 1e6


def measure() -> Section:
    """Each case by turns with what would do."""
    rows = []
    for what, (today, would_do) in _cases().items():
        pairs = [(_cost(today), _cost(would_do)) for _ in range(_ROUNDS)]
        now, then = (median(values) for values in zip(*pairs, strict=True))
        rows.append((what, number(now), number(then), number(now - then)))
    return Section(
        title="What each task pays upstream",
        about="Processor time of what is done for each task, beside what would do.",
        command="make bench B=upstream",
        columns=("µs per task", "today", "would do", "difference"),
        rows=rows,
    )


def main() -> int:
    """Measure and print the table."""
    show(measure())
    return 0


if __name__ == "__main__":
    sys.exit(main())
