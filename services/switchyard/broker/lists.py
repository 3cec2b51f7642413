"""The queues of a channel in, the lists that a fetch asks for out: one for each queue and priority."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kombu.utils.json import dumps


class Lists:
    """What is asked for; most workers ask for the same lists each time."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._queues: tuple[str, ...] = ()
        #: The queue of each list, the lists, and the queues as JSON.
        self.names: list[str] = []
        self.keys: list[str] = []
        self.quoted: list[str] = []
        self._encoded: frozenset[bytes] = frozenset()

    def ask(self, queues: tuple[str, ...]) -> None:
        """These queues' lists, the higher priorities first."""
        if queues == self._queues:
            return
        channel, self._queues = self._channel, queues
        pairs = [(queue, priority) for priority in channel.priority_steps for queue in queues]
        self.names = [queue for queue, _ in pairs]
        self.keys = [channel.key(channel._q_for_pri(*pair)) for pair in pairs]  # noqa: SLF001  as kombu's own
        self.quoted = [dumps(name) for name in self.names]
        self._encoded = frozenset(key.encode() for key in self.keys)

    def among(self, touched: Iterable[bytes] | None) -> bool:
        """Whether one of these keys was asked for last; None is all there are."""
        return touched is None or any(key in self._encoded for key in touched)
