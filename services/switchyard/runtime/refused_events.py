"""`make refused`: refused events as a person reads them; put back to be taken in again, or dropped. One command at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from switchyard.console import harmless
from switchyard.events import publishing, refused
from switchyard.runtime import preflight
from switchyard.settings import Settings

#: Characters of a message that are shown.
SHOWN = 200


def shown() -> Iterator[str]:
    """Two lines for each, newest first: when and why; and how it begins. Raises redis' own errors, as all here do."""
    for event in refused.kept():
        body = event.body.decode(errors="replace")
        when = f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%dT%H:%M:%SZ}"
        begins = body if len(body) <= SHOWN else f"{body[:SHOWN]}…"
        yield f"{when}  {harmless(event.reason)}\n  {harmless(begins)}"


def retry(config: Settings) -> int:
    """Put those that are kept now back into the broker's queue, oldest first; returns how many. Those refused again are kept
    again. Raises Unavailable while the broker is away; those that were not sent are still kept.
    """
    with preflight.alone(config):
        sent = 0
        for _ in range(refused.count()):
            if event := refused.oldest():
                # Removed after it was sent: whoever is killed in between sends it twice, which starts nothing twice.
                publishing.resend(event.body)
                refused.take_oldest()
                sent += 1
        return sent


def drop(config: Settings) -> int:
    """Remove those that are kept now; returns how many."""
    with preflight.alone(config):
        return sum(refused.take_oldest() is not None for _ in range(refused.count()))
