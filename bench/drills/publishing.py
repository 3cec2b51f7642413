"""The drill's end of its publisher: what was sent, what the broker has accepted, and what it has refused."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from bench.drills.ledger import queue_of

from switchyard.errors import SwitchyardError
from switchyard.settings import ROOT


class Publisher:
    """A publisher process. What it was told to send is pending until it says what the broker answered."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        command = [sys.executable, "-m", "bench.drills.publisher"]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, env=dict(environment), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                text=True, bufsize=1, start_new_session=True,
            )  # fmt: skip
        # Both are pipes, as just asked for.
        self._input, self._output = cast("IO[str]", self.process.stdin), cast("IO[str]", self.process.stdout)
        #: Names of tasks: not answered for yet, and taken.
        self.pending: set[str] = set()
        self.accepted: list[str] = []
        #: Why, in the words of whatever was raised. It may have been taken all the same: its answer may be what was lost.
        self.refused: dict[str, str] = {}
        self._open: Counter[str] = Counter()
        # Two locks: whoever waits for room in the pipe must not keep the answers from being read.
        self._sent, self._lock, self._writing = 0, threading.Lock(), threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, queue: str, task: str = "drill.work", *arguments: object, eta: str | None = None) -> str:
        """Have a task published, whose first argument is its own name; returns that name. Any thread may. `eta` is ISO 8601.

        Raises SwitchyardError if the publisher has ended.
        """
        with self._lock:
            self._sent += 1
            name = f"{queue}.{self._sent}"
            self.pending.add(name)
            self._open[queue] += 1
        with self._writing:
            try:
                self._input.write(json.dumps([name, task, [name, *arguments], queue, eta]) + "\n")
            except BrokenPipeError:
                code = self.process.wait()
                raise SwitchyardError(
                    f"The publisher has ended with {code}; --keep keeps what it has logged."
                ) from None
        return name

    def settled(self) -> bool:
        """Whether the broker has answered for everything."""
        return not self.pending

    def names(self, queue: str) -> list[str]:
        """What the broker has accepted for a queue."""
        return [name for name in list(self.accepted) if queue_of(name) == queue]

    def sent(self, queue: str) -> int:
        """How many of a queue's tasks the broker has accepted, or has not answered for yet."""
        return self._open[queue]

    def close(self) -> None:
        """End the process; what is pending stays so."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self._output.close()
        with suppress(BrokenPipeError):  # what it had not read yet
            self._input.close()

    def _read(self) -> None:
        for line in self._output:
            answer, name, reason = json.loads(line)
            with self._lock:
                self.pending.remove(name)
                if answer == "accepted":
                    self.accepted.append(name)
                else:
                    self.refused[name] = reason
                    self._open[queue_of(name)] -= 1
