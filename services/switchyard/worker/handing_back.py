"""Seconds in; at their end, what a stopping worker still runs goes back to its queue, and the worker ends. On every pool.

Celery's warm shutdown waits for running tasks, for ever. On prefork, a second signal turns it into a cold one, which ends the
children and gives back what they run; its soft shutdown would be both in one, but sleeps all of its time whatever ends earlier,
and acknowledges nothing meanwhile. No other pool can end a task, so there the process gives back what it holds and is gone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

from celery import signals
from celery.worker import worker
from celery.worker.state import active_requests
from redis.exceptions import RedisError

from switchyard.broker.keeper import keepers
from switchyard.logs import get_logger
from switchyard.queue import Queue
from switchyard.threads import caller, real_thread
from switchyard.worker import stopping
from switchyard.worker.request import Request

#: Seconds for the last words: what is logged, and what is not to be counted as lost.
LAST_WORDS_S = 3.0

log = get_logger(__name__)
#: Ends this process now, on pools where nothing can end a task.
_leaving: list[Callable[[], None]] = []


def at_once() -> bool:
    """Give back what runs and end, without any further wait; whether that is for this to do."""
    for leave in _leaving:
        leave()
    return bool(_leaving)


def prepare(queue: Queue) -> None:
    """Have this worker, `queue.drain` seconds after it is told to stop, give back what it runs by then."""
    if queue.pool != "prefork":
        # Celery gives each socket that is opened while a worker stops five seconds to answer. Here tasks that may end open some, too.
        worker.default_socket_timeout = lambda _seconds: nullcontext()  # type: ignore[attr-defined]  # its stubs lack it
    (start_thread, sleep), call = real_thread(), caller()
    begun: list[str] = []

    def begin(how: str, **_: Any) -> None:
        # Cold: Celery gives back at once what runs. A second warm one changes nothing.
        if how == "Warm" and not begun:
            begun.append(how)
            start_thread(wait, ())

    def wait() -> None:
        sleep(queue.drain)
        if queue.pool == "prefork":
            _end_children(start_thread, sleep)
        elif keepers():  # the stock transport gives nothing back that runs; its worker waits until it is killed
            _leave(call, sleep)

    def leave() -> None:
        stopping.mark()
        start_thread(_leave, (call, sleep))

    if queue.pool in ("threads", "solo") and keepers():
        _leaving.append(leave)
    signals.worker_shutting_down.connect(begin, weak=False)


def _running() -> list[Any]:
    while True:
        with suppress(RuntimeError):  # it has changed while it was read
            return list(active_requests)


def _end_children(start_thread: Callable[..., object], sleep: Callable[[float], None]) -> None:
    while not (running := _running()):
        sleep(0.1)  # one may be on its way to a child; without any, this process ends, and this thread with it
    log.warning("tasks_handed_back", tasks=[request.id for request in running])
    # By somebody else: this thread must end the worker, however slow Redis is.
    said: list[bool] = []
    start_thread(_keep_what_cannot_go_back, (running, said))
    _wait(said, sleep)
    os.kill(os.getpid(), signal.SIGQUIT)


def _keep_what_cannot_go_back(running: list[Any], said: list[bool]) -> None:
    try:
        for request in running:
            if isinstance(request, Request):
                request.lose("its worker was stopped while it ran")
    finally:
        said.append(True)


def _wait(said: list[bool], sleep: Callable[[float], None]) -> None:
    for _ in range(int(LAST_WORDS_S * 20)):
        if said:
            break
        sleep(0.05)


def _leave(call: Callable[[Callable[[], object]], None], sleep: Callable[[float], None]) -> None:
    said: list[bool] = []
    try:
        running = _running()
        _give_back()

        def say() -> None:
            try:
                for forget in list(stopping.handed_back):
                    forget()
                log.warning("tasks_handed_back", tasks=[request.id for request in running])
            finally:
                _keep_what_cannot_go_back(running, said)

        # By somebody else: a task may hold what either of them waits for, and this thread must end the process.
        call(say)
        _wait(said, sleep)
        _give_back()  # what was on its way here
    finally:
        os._exit(0)


def _give_back() -> None:
    for keeper in keepers():
        keeper.leases.consuming.clear()
        keeper.leases.hand_back()
        with suppress(RedisError):  # Redis is away: the leases lapse
            keeper.flush()
