"""Messages that were set aside: their tasks have failed for good, or nobody could run them. Kept with the cause until replayed or
dropped. Everything here raises redis' own errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from uuid import uuid4

from redis.commands.core import Script

from switchyard.broker import scripts, state
from switchyard.errors import SwitchyardError

#: Letters that are read in one round trip.
PAGE = 500
#: Letters that are told and removed at once when there are too many; seconds in which one worker alone does.
AT_ONCE, ALONE_S = 500, 30
#: What a list of letters needs; the message and the traceback may be large.
_FIELDS = ("at", "queue", "task", "task_id", "deliveries", "reason", "worker")


@dataclass(frozen=True)
class DeadLetter:
    """One of them: when (seconds since 1970), from which queue, of which task and with which id as far as that can be read, how
    often it was lost before, why, and which worker had it, if that is known.
    """

    id: str
    at: float
    queue: str
    task: str
    task_id: str
    deliveries: int
    reason: str
    worker: str


@dataclass(frozen=True)
class Contents:
    """What else is kept of one: the message as it lay in the queue, and the end of the traceback, if there was one."""

    message: bytes
    traceback: str


def count() -> int:
    """How many there are."""
    return int(state.client().zcard(scripts.DEAD_LETTERS))


def kept(queue: str | None = None) -> Iterator[DeadLetter]:
    """Each, or each of a queue, oldest first."""
    ids = cast("list[bytes]", state.client().zrange(scripts.DEAD_LETTERS, 0, -1))
    for first in range(0, len(ids), PAGE):
        yield from (letter for letter in read(ids[first : first + PAGE]) if queue in (None, letter.queue))


def read(ids: Iterable[bytes]) -> list[DeadLetter]:
    """Those of them that are still there, in one round trip."""
    ids = list(ids)
    pipe = state.client().pipeline(transaction=False)
    for number in ids:
        pipe.hmget(scripts.DEAD_LETTER + number.decode(), _FIELDS)
    return [_letter(number.decode(), found) for number, found in zip(ids, pipe.execute(), strict=True) if found[0]]


def _letter(number: str, found: list[bytes | None]) -> DeadLetter:
    at, queue, task, task_id, deliveries, reason, worker = ((value or b"").decode(errors="replace") for value in found)
    return DeadLetter(number, float(at), queue, task or "?", task_id or "?", int(deliveries or 0), reason, worker)


def contents(letter: DeadLetter) -> Contents | None:
    """The rest of a letter; None if it is not there any more."""
    found = cast("list[bytes | None]", state.client().hmget(scripts.DEAD_LETTER + letter.id, "message", "traceback"))
    return None if found[0] is None else Contents(found[0], (found[1] or b"").decode(errors="replace"))


def of_task(task_id: str, *, since: float = 0) -> DeadLetter | None:
    """The latest one of this task, if it was set aside at this time (seconds since 1970) or later."""
    letters = _of_task(task_id)
    return letters[-1] if letters and letters[-1].at >= since else None


def _of_task(task_id: str) -> list[DeadLetter]:
    first = b"[" + task_id.encode(errors="replace") + b"\0"
    members = cast("list[bytes]", state.client().zrangebylex(scripts.DEAD_LETTERS_OF_TASKS, first, first + b"\xff"))
    return sorted(read(member.rpartition(b"\0")[2] for member in members), key=lambda letter: letter.at)


def find(number: str) -> DeadLetter:
    """The letter that has this id, or whose task has it. Raises SwitchyardError if there is none, or several are of this task."""
    if found := read([number.encode(errors="replace")]):
        return found[0]
    letters = _of_task(number)
    if not letters:
        raise SwitchyardError(
            f"No dead letter has the id {number!r}, and none is of a task with it; it was replayed or dropped, or never "
            "was one. `make dead-letters` lists those that are kept."
        )
    if len(letters) > 1:
        ids = ", ".join(letter.id for letter in letters)
        raise SwitchyardError(f"{len(letters)} dead letters are of the task {number!r}: {ids}. Name one by its own id.")
    return letters[0]


def write(message: str, queue: str, reason: str, deliveries: int, details: tuple[str, ...]) -> None:
    """Keep a letter by itself; what is unacknowledged moves to one by its settlement. Details are fields and values in turn."""
    # Its answer may be lost, and the script sent again.
    _run(scripts.LETTER, str(uuid4()), message, queue, reason, deliveries, *details)


def put_back(letter: DeadLetter) -> bool:
    """Put its message back into its queue, where it comes last, as it was published; the letter is gone when it is there. False if
    somebody else has taken it meanwhile.
    """
    return bool(_run(scripts.TAKE, letter.id, letter.queue))


def remove(letter: DeadLetter) -> bool:
    """Remove it and its message. False if somebody else has taken it meanwhile."""
    return bool(_run(scripts.TAKE, letter.id, ""))


def due(most: int, seconds: float, asker: str) -> list[DeadLetter]:
    """The oldest of those that are beyond `most`, or were kept longer than that. For a while, only one asker is told any: it is to
    tell of them, and then to remove them.
    """
    return read(cast("list[bytes]", _run(scripts.DUE, most, seconds, AT_ONCE, asker, ALONE_S)))


def _run(script: str, *arguments: Any) -> Any:
    # The first key is any hash: it is what lets a script write at the server's memory limit (lua/home.lua). The first argument is
    # the prefix of keys, of which our own apps have none.
    return _script(script)(keys=(scripts.WORKERS, scripts.DEAD_LETTERS), args=("", *arguments))


@cache
def _script(text: str) -> Script:
    return state.client().register_script(text)
