"""How long single messages wait on idle systems that are all there at once: they go to one or the other by chance, so that a noisy
moment is everybody's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from bench.notes import Begun
from bench.workers import wait_until

#: Seconds between two messages: long enough for everybody to be idle again, not long enough to be boring.
_GAPS = (0.03, 0.15)
#: Messages that are not counted: what a first task loads is no wait.
_WARM_UP = 5

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Waiting:
    """A system that waits: `send` sends it one message and says when that began, `begun` what it has begun so far."""

    send: Callable[[], float]
    begun: Callable[[], Begun]


def waits_of(systems: Mapping[K, Waiting], messages: int) -> dict[K, list[float]]:
    """Milliseconds from sending to the first line of the task's body, of each message that counts."""
    waits: dict[K, list[float]] = {name: [] for name in systems}
    order = [name for name in systems for _ in range(_WARM_UP + messages)]
    random.shuffle(order)
    for name in order:
        time.sleep(random.uniform(*_GAPS))
        waits[name].append(1000 * _wait(systems[name]))
    return {name: some[_WARM_UP:] for name, some in waits.items()}


def _wait(system: Waiting) -> float:
    before = system.begun().tasks
    pushed = system.send()
    time.sleep(_GAPS[0])  # nobody looks before it is done, on a machine of few processors
    wait_until(lambda: system.begun().tasks > before, "a task to begin")
    return system.begun().last - pushed
