"""What became of each task, from the file that the tasks write themselves: begun and ended, by which worker, and when."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: The variable that names the file.
LEDGER = "DRILL_LEDGER"


@dataclass(frozen=True)
class Entry:
    """A line of the ledger. `worker` is the pid of its main process, `at` the monotonic clock that all processes share."""

    event: str
    name: str
    worker: int
    pid: int
    at: float

    @property
    def queue(self) -> str:
        """The queue of the task."""
        return queue_of(self.name)


@dataclass(frozen=True)
class Kill:
    """When a worker of a queue was killed, by the monotonic clock; or stopped, or cut off."""

    queue: str
    worker: int
    at: float


def queue_of(name: str) -> str:
    """The queue that a task of the drill was sent to: its name says so."""
    return name.split(".", 1)[0]


class Ledger:
    """The file as far as it has been read. Any thread may read it on."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.begins: dict[str, list[Entry]] = defaultdict(list)
        self.ends: dict[str, list[Entry]] = defaultdict(list)
        #: Tasks of each queue that have ended at least once.
        self.done: Counter[str] = Counter()
        #: What each worker has begun and not ended, oldest first.
        self.in_hand: dict[int, dict[str, Entry]] = defaultdict(dict)
        #: When the last line was written, or the ledger begun.
        self.latest = time.monotonic()
        self._file, self._rest, self._lock = path.open("rb"), b"", threading.Lock()

    def read(self) -> Ledger:
        """Take in what was written since; returns itself."""
        with self._lock:
            *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
            for line in lines:
                event, name, worker, pid, at = line.decode().split(" ")
                self._take(Entry(event, name, int(worker), int(pid), float(at)))
        return self

    def _take(self, entry: Entry) -> None:
        self.latest = entry.at
        if entry.event == "begun":
            self.begins[entry.name].append(entry)
            self.in_hand[entry.worker][entry.name] = entry
        else:
            self.done[entry.queue] += entry.name not in self.ends
            self.ends[entry.name].append(entry)
            self.in_hand[entry.worker].pop(entry.name, None)

    def close(self) -> None:
        """Read no further."""
        self._file.close()

    def running(self, worker: int) -> list[Entry]:
        """What this worker has begun and not ended by now, oldest first."""
        self.read()
        with self._lock:
            return list(self.in_hand[worker].values())

    def begun_since(self, at: float) -> list[Entry]:
        """What was begun after `at`, by any worker."""
        self.read()
        with self._lock:
            return [begins[-1] for begins in self.begins.values() if begins[-1].at > at]

    def lost(self, names: Iterable[str]) -> list[str]:
        """Those that never ended."""
        return [name for name in names if name not in self.ends]

    def again(self, names: Iterable[str]) -> int:
        """How often any of them was begun beyond the first time."""
        return sum(max(len(self.begins.get(name, ())) - 1, 0) for name in names)

    def twice(self, names: Iterable[str]) -> int:
        """How often any of them was brought to its end beyond the first time."""
        return sum(max(len(self.ends.get(name, ())) - 1, 0) for name in names)

    def recoveries(self, kills: Iterable[Kill]) -> list[float]:
        """Seconds from each kill until what the killed worker had in hand was begun by another.

        Not of tasks whose next worker was killed as well before it could begin them: that is two recoveries in one.
        """
        kills = list(kills)
        return [seconds for kill in kills for seconds in self._recovered(kill, kills)]

    def took_over(self, kills: Iterable[Kill], queue: str) -> list[float]:
        """Seconds from each blow to a worker of this queue until another began what that one had begun, also if both live."""
        return [
            min(later) - kill.at
            for kill in kills
            if kill.queue == queue
            for begins in self.begins.values()
            if any(begin.worker == kill.worker for begin in begins)
            if (later := [begin.at for begin in begins if begin.worker != kill.worker and begin.at > kill.at])
        ]

    def _recovered(self, kill: Kill, kills: list[Kill]) -> Iterator[float]:
        others = [other.at for other in kills if other.queue == kill.queue and other.at > kill.at]
        for name in self.in_hand[kill.worker]:
            later = [begin.at for begin in self.begins[name] if begin.worker != kill.worker and begin.at > kill.at]
            if later and not any(at < min(later) for at in others):
                yield min(later) - kill.at


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of the values that `share` of them do not exceed (nearest rank). Raises ValueError for no values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("There is no percentile of nothing.")
    return ordered[max(math.ceil(len(ordered) * share), 1) - 1]
