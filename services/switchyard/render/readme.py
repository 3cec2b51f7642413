"""Queues in, the README's table of them out."""

from __future__ import annotations

import re

from switchyard.queue import Queue
from switchyard.queues import Queues

BEGIN, END = "<!-- queues: rendered by `make render` -->", "<!-- /queues -->"


def with_table(text: str, queues: Queues) -> str:
    """The README with its table of queues replaced; unchanged where it has none."""
    return re.sub(
        re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: f"{BEGIN}\n{table(queues)}{END}", text, flags=re.DOTALL
    )


def table(queues: Queues) -> str:
    """A Markdown table, one row per queue."""
    rows = [_row(queue) for queue in queues.by_name.values()]
    head = "| queue | takes | pool | slots | a task may take | memory |\n|---|---|---|---|---|---|\n"
    return head + "".join(rows)


def _row(queue: Queue) -> str:
    takes = ", ".join(f"`{glob}`" for glob in queue.tasks) or "what nobody else takes"
    return f"| `{queue.name}` | {takes} | {queue.pool} | {queue.slots} | {queue.time_limit:g} s | {queue.memory // 1024**2} MB |\n"
