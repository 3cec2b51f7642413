"""Keeps the dead letters within their bounds: the oldest are told, one line each, and then removed. Every worker looks, one acts."""

from __future__ import annotations

import os

from redis.exceptions import RedisError

from switchyard.broker import dead_letters
from switchyard.logs import get_logger
from switchyard.settings import Settings
from switchyard.threads import caller, real_thread

#: Seconds between two looks.
LOOK_S = 5.0
DAY_S = 86_400

log = get_logger(__name__)


def watch(config: Settings) -> None:
    """Look now and then until this process ends. A thread of the operating system keeps the time, whatever tasks do."""
    (start_thread, sleep), call = real_thread(), caller()
    asker = f"{os.uname().nodename}.{os.getpid()}"
    looking: list[str] = []

    def look() -> None:
        try:
            trim(config, asker)
        finally:
            looking.clear()

    def now_and_then() -> None:
        while True:
            if not looking:  # else there is much to tell
                looking.append(asker)
                call(look)
            sleep(LOOK_S)

    start_thread(now_and_then, ())


def trim(config: Settings, asker: str) -> None:
    """Tell of each letter beyond DEAD_LETTERS_MAX or older than DEAD_LETTERS_DAYS, and remove it: told first, so that whoever is
    killed in between has one told twice, and none removed in silence.
    """
    try:
        while letters := dead_letters.due(config.dead_letters_max, config.dead_letters_days * DAY_S, asker):
            for letter in letters:
                log.error(
                    "dead_letter_dropped", id=letter.id, task=letter.task, task_id=letter.task_id, queue=letter.queue,
                    cause=letter.reason,
                )  # fmt: skip
                dead_letters.remove(letter)
    except RedisError as exc:
        log.warning("dead_letters_not_trimmed", reason=str(exc))
