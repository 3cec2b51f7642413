"""What processes use, by the group they were started as: Linux' /proc says it of each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from switchyard.worker.memory import proportional


def cpu(group: int) -> float:
    """Seconds of processor that a group's processes have had; a busy machine makes these no longer."""
    ticks = sum(int(fields[11]) + int(fields[12]) for _, fields in _of(group))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(group: int) -> int:
    """Bytes that a group's processes have together, what they share with others in part (PSS)."""
    return sum(proportional(pid) for pid, _ in _of(group))


def _of(group: int) -> Iterator[tuple[int, list[str]]]:
    """The pid of each, and the fields of its /proc/<pid>/stat from the state on."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == group:
            yield int(stat.parent.name), fields
