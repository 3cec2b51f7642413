"""One system with one way to run its workers: what is started, and what it promises of a message whose worker is killed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import redis

from switchyard.settings import ROOT

#: What requirements/peers.txt is installed into.
PEERS = ROOT / ".venv-peers" / "bin"
OURS, STOCK = "Switchyard", "Celery"


@dataclass(frozen=True)
class System:
    """`module` has its tasks and its `send`; `commands` are its workers, each a group of processes; `left` is what is not done yet."""

    family: str
    way: str
    module: str
    commands: tuple[tuple[str, ...], ...]
    delivery: str
    database: int
    left: Callable[[redis.Redis], int]
    python: str = sys.executable
    #: What its processes find in their environment, and its queues.toml, where it has one.
    environment: Mapping[str, str] = field(default_factory=dict)
    toml: str = ""

    @property
    def name(self) -> str:
        """As tables have it."""
        return f"{self.family}, {self.way}"

    @property
    def ours(self) -> bool:
        """Whether it is this project."""
        return self.family == OURS
