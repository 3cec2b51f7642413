"""How many messages a channel may fetch: what its consumer may hold, less what it holds, also since a connection that was lost."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from switchyard.broker.leases import Leases
from switchyard.worker import stopping

#: Messages in one fetch.
FETCH_MOST = 64
#: Messages that a worker without a bound on what it reserves may hold.
HOLD_MOST = 2000


def room(qos: Any, leases: Leases, queues: Collection[str], arrived: int) -> int:
    """Of which `arrived` have come and were not handed on yet. None where the worker stops."""
    if stopping.is_set() or not qos.can_consume():
        return 0
    held, most, credit = len(leases.held), qos.prefetch_count, qos.can_consume_max_estimate()
    if credit is None:  # no bound; but each lease is renewed every second
        credit = HOLD_MOST - held
    elif most - held + arrived < credit:
        # More is held than this channel knows of: what still runs of a lost connection counts here; what somebody else in this process
        # holds, such as a task that consumes, does not.
        credit = min(credit, most - leases.held_of(queues) + arrived)
    return max(0, min(int(credit), FETCH_MOST) - arrived)
