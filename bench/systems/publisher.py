"""A publisher, in a process of its own that is told what to send (`bench.systems.publish`)."""

from __future__ import annotations

from collections.abc import Mapping

from bench.workers import Bench


class Publisher:
    """One that runs; whatever imports `module` needs is in its `environment`."""

    def __init__(self, made: Bench, name: str, python: str, module: str, environment: Mapping[str, str]) -> None:
        command = [python, "-m", "bench.systems.publish", module]
        self.process = made.start(f"{name}-publisher", command, piped=True, **environment)

    def send(self, task: str, times: int) -> tuple[float, float]:
        """Publish a task so often; returns when that began and had ended."""
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.process.stdin.write(f"{task} {times}\n".encode())
        self.process.stdin.flush()
        began, ended = map(float, self.process.stdout.readline().split())
        return began, ended
