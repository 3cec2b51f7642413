"""A result that cannot be stored waits for Redis for some seconds, as Celery's own writing does; the look that it takes before does not,
and what it raises makes a failure of a task that has succeeded.
"""

from __future__ import annotations

from typing import Any

from kombu.utils.functional import retry_over_time
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as NotAnswered

from switchyard.logs import get_logger

#: Tries, a second apart but for the first, after which it fails. Celery's own writing gives up as late.
TRIES = 20

log = get_logger(__name__)


def wait_for_redis(app: Any) -> None:
    """Have the app's backend store results so in this process: where tasks run. Doing it again changes nothing."""
    backend = app.backend
    if hasattr(backend, "ensure") and "_store_result" not in vars(backend):  # Celery's Redis backends have it
        backend._store_result = _patient(backend._store_result)  # noqa: SLF001  nothing else lies between the two


def _wait(exc: BaseException, intervals: Any, _tries: int) -> float:
    log.warning("result_waits_for_redis", reason=str(exc))
    return float(next(intervals))


def _patient(store: Any) -> Any:
    def stored(*args: Any, **kwargs: Any) -> Any:
        wait: Any = _wait
        errors = (NotConnected, NotAnswered)
        return retry_over_time(
            store, errors, args, kwargs, wait, max_retries=TRIES, interval_start=0, interval_step=1, interval_max=1
        )

    return stored
