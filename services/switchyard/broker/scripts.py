"""The transport's Lua, and the keys it keeps besides kombu's own; all with the transport's key prefix in front."""

from __future__ import annotations

from pathlib import Path

#: Ids of set-aside messages by the time when they were; each has a hash of its own, DEAD_LETTER + id. A task's are found by its id,
#: and a zero byte and the letter's id after it.
DEAD_LETTERS, DEAD_LETTER = "switchyard:dead_letters", "switchyard:dead_letter:"
DEAD_LETTERS_OF_TASKS = f"{DEAD_LETTERS}:tasks"
#: When a worker was last heard of, by the server's clock, and since when that clock has run without a gap.
CLOCK = "switchyard:lease_clock"
#: Each worker that lives: when it last said so, and what it holds.
WORKERS = "switchyard:workers"
#: Messages that are not due yet: an id -> when they are, by the server's clock; the id -> the message with its queue, as kombu
#: notes it; and how many there are of each queue.
DELAYED, DELAYED_ENTRIES, DELAYED_COUNTS = (
    "switchyard:delayed",
    "switchyard:delayed:entries",
    "switchyard:delayed:counts",
)
#: Ids of tasks that were revoked, by when they were: a delayed one outlives every worker that has heard of it.
REVOKED = "switchyard:revoked"
#: What a delayed message begins with that was revoked meanwhile.
REVOKED_MARK = "x-revoked"
#: What a message that was lost begins with, and how often it was.
DELIVERIES = "x-deliveries"

_FOLDER = Path(__file__).parent / "lua"


def _script(name: str, *before: str) -> str:
    return "".join((_FOLDER / f"{part}.lua").read_text() for part in (*before, name))


FETCH = _script("fetch")
SETTLE = _script("settle", "letters", "home")
KEEP = _script("keep", "letters", "home", "delayed")
RELEASE = _script("release", "letters", "home", "delayed")
LETTER = _script("letter", "letters", "home")
TAKE = _script("take", "letters", "home")
DUE = _script("due")
