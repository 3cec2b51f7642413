"""What becomes of a task whose process is about to be killed for its memory: its record says so, and the third time it is given up.

Chunks and callbacks of workflows count their deliveries themselves. Any other message becomes a dead letter.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from celery.worker.state import active_requests, revoked

from switchyard.logs import get_logger
from switchyard.worker.request import given_up
from switchyard.workflows import record

#: Kills after which a task is no bad luck any more.
MAX_KILLS = 3

_kills: Counter[str] = Counter()
log = get_logger(__name__)


def busy() -> list[int]:
    """The pids of the pool's processes that run a task."""
    return [request.worker_pid for request in list(active_requests) if request.worker_pid]


def tell(pid: int, cause: str) -> None:
    """Note why the process `pid` is killed. Redis is told in a thread: memory grows while one waits for it."""
    for request in list(active_requests):
        if request.worker_pid == pid:
            threading.Thread(target=_note(request, cause), daemon=True).start()


def _note(request: Any, cause: str) -> Callable[[], None] | None:
    """What Redis is to be told, if anything."""
    if request.name == "switchyard.run_chunk":
        workflow_id, _, chunk = request.args
        return lambda: record.note_cause_of_loss(workflow_id, str(chunk), cause)
    if request.name == "switchyard.call_back":
        return lambda: record.note_cause_of_loss(request.args[0], record.CALLBACK, cause)
    _kills[request.id] += 1
    if _kills[request.id] < MAX_KILLS:
        return None
    del _kills[request.id]
    given_up[request.id] = f"its process was killed {MAX_KILLS} times: {cause}"
    # Its message comes back once more, and is set aside; the workflow that it starts ends with it (hooks.py).
    revoked.add(request.id)
    log.error("task_given_up", task=request.name, task_id=request.id, kills=MAX_KILLS, cause=cause)
    return None
