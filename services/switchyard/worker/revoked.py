"""Revoked tasks outlive the workers that heard of it: noted in Redis, read by each worker that starts, and by who gives back
what was delayed. Celery keeps them in its workers' memory alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import redis
from celery.worker import state as worker_state
from celery.worker.control import Panel

from switchyard.broker import scripts, state
from switchyard.logs import get_logger

#: Ids that are kept, the newest; as many as Celery keeps itself.
MOST = worker_state.REVOKES_MAX

log = get_logger(__name__)


def remember() -> None:
    """Have this worker know what was revoked before it started, and note what is from now on."""
    revoke = Panel.data["revoke"]
    if not hasattr(revoke, "__wrapped__"):
        Panel.data["revoke"] = _noting(revoke)
    try:
        worker_state.revoked.update(
            id_.decode() for id_ in cast("list[bytes]", state.client().zrange(scripts.REVOKED, -MOST, -1))
        )
    except redis.RedisError as exc:
        log.warning("revoked_tasks_not_read", reason=str(exc))


def _noting(revoke: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(revoke)
    def noted(panel: Any, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        ids = [task_id] if isinstance(task_id, str) else list(task_id or ())
        try:
            _note([str(id_) for id_ in ids])
        except redis.RedisError as exc:
            # Workers that live have heard it all the same.
            log.warning("revoked_tasks_not_noted", reason=str(exc))
        return revoke(panel, task_id, *args, **kwargs)

    return noted


def _note(ids: list[str]) -> None:
    if not ids:
        return
    client = state.client()
    seconds, _ = client.time()
    pipe = client.pipeline()
    pipe.zadd(scripts.REVOKED, dict.fromkeys(ids, seconds))
    pipe.zremrangebyrank(scripts.REVOKED, 0, -MOST - 1)
    pipe.execute()
