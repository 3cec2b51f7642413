"""The machine that a bench runs on, in one sentence beside its numbers."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field

from bench.workers import Bench


@dataclass(frozen=True)
class Machine:
    """What numbers depend on; made before anything is measured, so that its load is not the bench's own."""

    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    python: str = field(default_factory=platform.python_version)
    before: float = field(default_factory=lambda: os.getloadavg()[0])

    def sentence(self, made: Bench) -> str:
        """Cores, versions, and how busy the machine was."""
        server = made.client().info("server")
        name = "Valkey" if "valkey_version" in server else "Redis"
        version = server.get("valkey_version") or server["redis_version"]
        return (
            f"{self.cores} cores, Python {self.python}, {name} {version} without persistence; {self.before:.1f} processes "
            f"wanted a core before, {os.getloadavg()[1]:.1f} in the last 5 minutes"
        )
