"""One row per program: its state, how long it has had it, and what waits for it; and how many events were refused."""

from __future__ import annotations

import time
from dataclasses import dataclass

import redis

from switchyard.broker.events_queue import PRIORITY_LISTS
from switchyard.broker.state import waiting
from switchyard.events import refused
from switchyard.health import queue_name
from switchyard.runtime import readiness
from switchyard.runtime.local import running_supervisor
from switchyard.settings import Settings
from switchyard.workflows import record


@dataclass(frozen=True)
class Row:
    """A program of the deployment. `waiting` is the messages in a worker's queue, for the consumer the events in the broker
    and the workflows to be published; None for any other program, and for what cannot be read.
    """

    name: str
    state: str
    pid: int
    uptime_s: int
    waiting: int | None


def rows(config: Settings) -> list[Row]:
    """Every program. Raises SwitchyardError when the deployment is not up."""
    programs = running_supervisor(config).programs()
    # Asked once: one that hangs would be waited for queue by queue.
    found, answers = [], readiness.redis_answers(config)
    for program in programs:
        ready = readiness.is_ready(config, program)
        state = "ready" if ready else "starting" if program.state == "RUNNING" else program.state.lower()
        uptime = int(time.time()) - program.since if program.pid else 0
        found.append(Row(program.name, state, program.pid, uptime, _waiting(program.name) if answers else None))
    return found


def _waiting(program: str) -> int | None:
    queue = queue_name(program)
    try:
        if queue is not None:
            return waiting(queue)
        if program == "consumer":
            return sum(map(waiting, PRIORITY_LISTS)) + record.client().zcard(record.OUTBOX)
    except redis.RedisError:
        pass
    return None


def refused_events(config: Settings) -> str:
    """A sentence while refused events are kept; empty when there are none, and where that cannot be read."""
    try:
        number = refused.count() if readiness.redis_answers(config) else 0
    except redis.RedisError:
        return ""
    are = "event is" if number == 1 else "events are"
    return f"{number:,} refused {are} kept: make refused" if number else ""
