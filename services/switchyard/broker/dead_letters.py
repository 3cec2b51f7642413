"""Messages that were set aside: rejected, unreadable, or lost too often with their workers. Kept with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from kombu.utils.json import loads

from switchyard.broker import scripts, state


@dataclass(frozen=True)
class DeadLetter:
    """One of them: when (seconds since 1970), from which queue, of which task and with which id as far as that can be read, how
    often it was lost before, why, and the message as it lay in the queue.
    """

    id: str
    at: float
    queue: str
    task: str
    task_id: str
    deliveries: int
    reason: str
    message: bytes


def count() -> int:
    """How many there are. Raises redis' own errors, as all here do."""
    return int(state.client().zcard(scripts.DEAD_LETTERS))


def kept() -> Iterator[DeadLetter]:
    """Each, oldest first."""
    for number, at in cast(
        "list[tuple[bytes, float]]", state.client().zrange(scripts.DEAD_LETTERS, 0, -1, withscores=True)
    ):
        fields = cast("dict[bytes, bytes]", state.client().hgetall(scripts.DEAD_LETTER + number.decode()))
        if fields:  # else somebody has removed it by hand
            yield DeadLetter(
                id=number.decode(),
                at=at,
                queue=fields[b"queue"].decode(errors="replace"),
                task=_header(fields[b"message"], "task"),
                task_id=_header(fields[b"message"], "id"),
                deliveries=int(fields[b"deliveries"]),
                reason=fields[b"reason"].decode(errors="replace"),
                message=fields[b"message"],
            )


def of_task(task_id: str, *, since: float = 0) -> DeadLetter | None:
    """The one of this task, if it was set aside at this time (seconds since 1970) or later. Reads all of them."""
    return next((letter for letter in kept() if letter.task_id == task_id and letter.at >= since), None)


def _header(message: bytes, name: str) -> str:
    try:
        return str(loads(message)["headers"][name])
    except (ValueError, KeyError, TypeError):
        return "?"
