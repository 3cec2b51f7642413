"""One row per program: its state, how long it has had it, and for a queue what waits in it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import redis

from switchyard.broker.state import waiting
from switchyard.runtime import readiness
from switchyard.runtime.local import running_supervisor
from switchyard.settings import Settings
from switchyard.worker.health import queue_name


@dataclass(frozen=True)
class Row:
    """A program of the deployment. `waiting` is the messages in its queue, None for what is no queue or cannot be read."""

    name: str
    state: str
    pid: int
    uptime_s: int
    waiting: int | None


def rows(config: Settings) -> list[Row]:
    """Every program. Raises SwitchyardError when the deployment is not up."""
    found = []
    for program in running_supervisor(config).programs():
        ready = readiness.is_ready(config, program)
        state = "ready" if ready else "starting" if program.state == "RUNNING" else program.state.lower()
        uptime = int(time.time()) - program.since if program.pid else 0
        found.append(Row(program.name, state, program.pid, uptime, _waiting(program.name)))
    return found


def _waiting(program: str) -> int | None:
    queue = queue_name(program)
    if queue is None:
        return None
    try:
        return waiting(queue)
    except redis.RedisError:
        return None
