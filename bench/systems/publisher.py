"""A publisher, in a process of its own that is told what to send (`bench.systems.publish`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, cast

from bench.workers import Bench


class Publisher:
    """One that runs; whatever imports `module` needs is in its `environment`."""

    def __init__(self, made: Bench, name: str, python: str, module: str, environment: Mapping[str, str]) -> None:
        command = [python, "-m", "bench.systems.publish", module]
        self.process = made.start(f"{name}-publisher", command, piped=True, **environment)
        self._told, self._says = cast("IO[bytes]", self.process.stdin), cast("IO[bytes]", self.process.stdout)

    def send(self, task: str, times: int) -> tuple[float, float]:
        """Publish a task so often; returns when that began and had ended."""
        self._told.write(f"{task} {times}\n".encode())
        self._told.flush()
        began, ended = map(float, self._says.readline().split())
        return began, ended
