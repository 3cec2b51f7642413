"""The process behind the doors: it takes in what the broker holds, and starts what was accepted through any door.

It says that it is ready while it does both, and no longer.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import redis
from kombu.exceptions import KombuError, OperationalError

from switchyard import logs
from switchyard.errors import Unavailable
from switchyard.events import acceptance
from switchyard.health import FETCH_S, note_ready
from switchyard.logs import get_logger
from switchyard.producer import starter
from switchyard.producer.broker_door import BrokerDoor
from switchyard.settings import settings

#: Seconds between two tries while Redis is away: the first, and the longest.
PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
#: Seconds between two signs of life.
BEAT_S = 1.0

log = get_logger(__name__)


class Loop(threading.Thread):
    """Does one thing again and again, patiently: what fails because Redis is away is tried until it is back."""

    def __init__(self, name: str, step: Callable[[], object], stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.step, self.stop = step, stop
        self.last_good = 0.0

    def run(self) -> None:
        """Until told to stop."""
        pause = PAUSE_S
        while not self.stop.is_set():
            try:
                self.step()
                self.last_good, pause = time.monotonic(), PAUSE_S
            except (redis.RedisError, OperationalError, KombuError, Unavailable, OSError) as exc:
                log.warning("redis_awaited", loop=self.name, reason=str(exc), wait_s=pause)
                self.stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            except Exception:
                log.exception("loop_failed", loop=self.name)
                self.stop.wait(LONGEST_PAUSE_S)

    @property
    def is_well(self) -> bool:
        """Whether its last look was a good one, and not long ago."""
        return time.monotonic() - self.last_good < FETCH_S


def main() -> None:
    """Run until SIGTERM or SIGINT; whatever is in hand is in Redis, too, and a kill loses nothing. Raises ConfigError."""
    config = settings()
    logs.configure(config.log_format, config.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    acceptance.event_config()  # refused now rather than at the first event
    door = BrokerDoor()

    def take_in() -> None:
        door.declare()
        door.look()

    def start() -> None:
        if not starter.look():
            starter.wait()

    loops = [Loop("broker_door", take_in, stop), Loop("starter", start, stop)]
    for loop in loops:
        loop.start()
    while not stop.wait(BEAT_S):
        if all(loop.is_well for loop in loops):
            note_ready(config.state_dir, "consumer")
    for loop in loops:
        loop.join(timeout=5)
    door.close()
