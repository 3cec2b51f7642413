"""The credit of a leased channel, and the ways in which a message is settled."""

from __future__ import annotations

from functools import partial
from typing import Any

from kombu.transport.virtual.base import QoS as VirtualQoS

from switchyard.broker import stock
from switchyard.worker import stopping


class QoS(stock.QoS):
    """The credit of a channel; what was fetched is recorded already."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message is handed on. Only a weak reference is kept: a message that nobody has any more is no longer leased."""
        if self.channel.leases.owns(delivery_tag):
            # Its credit comes back then, too: else a worker that drops as many as it may hold consumes no more.
            self.channel.leases.hand_on(delivery_tag, message, partial(VirtualQoS.ack, self, delivery_tag))
            VirtualQoS.append(self, None, delivery_tag)
        else:  # one that was asked for by itself (basic_get) is recorded by kombu's rules
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Done with, or set aside if its task has failed; from any thread or greenlet."""
        leases = self.channel.leases
        if not leases.owns(delivery_tag):
            return super().ack(delivery_tag)
        lease = leases.held.get(delivery_tag)
        if lease is not None and lease.failed:
            return self.set_aside(delivery_tag, *lease.failed)
        leases.settle("ack", delivery_tag)
        return VirtualQoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002  kombu's
        """Back to the queue, as lost with its process, or set aside. A stop is no loss."""
        if not self.channel.leases.owns(delivery_tag):
            return super().reject(delivery_tag, requeue)
        if not requeue:
            lease = self.channel.leases.held.get(delivery_tag)
            return self.set_aside(delivery_tag, *((lease and lease.failed) or ("rejected",)))
        self.channel.leases.settle("head" if stopping.is_set() else "tail", delivery_tag)
        return VirtualQoS.ack(self, delivery_tag)

    def set_aside(self, delivery_tag: str, reason: str, details: tuple[str, ...] = ()) -> None:
        """Keep a message, with the reason, where no worker finds it."""
        self.channel.leases.settle("aside", delivery_tag, reason, details)
        if delivery_tag in (self._delivered or ()):  # else it has taken no credit
            VirtualQoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """A channel closes. Its messages go back if this process ends; a worker that only reconnects goes on with them."""
        del client
        if stopping.is_set() or not stopping.is_worker():
            for tag in reversed(list(self._delivered or ())):
                if tag in self.channel.leases.held:
                    self.channel.leases.settle("head", tag)
        if self._delivered:
            self._delivered.clear()

    def restore_visible(self, *_: Any, **__: Any) -> None:
        """The keeper does."""
