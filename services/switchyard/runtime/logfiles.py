"""Log files in, readable lines out: JSON is shown as a person would write it, anything else as it is."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import structlog


def tail(file: Path, lines: int) -> list[str]:
    """The last lines of a log file, readable; none if it does not exist."""
    if not file.exists():
        return []
    with file.open(errors="replace") as stream:
        return [readable(line) for line in deque(stream, maxlen=lines)]


def follow(files: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """New lines of several log files as they are written, each with its program's name. Never ends."""
    streams = {name: file.open(errors="replace") for name, file in files.items() if file.exists()}
    for stream in streams.values():
        stream.seek(0, 2)
    while True:
        found = False
        for name, stream in streams.items():
            while line := stream.readline():
                found = True
                yield name, readable(line)
        _reopen_rotated(files, streams)
        if not found:
            time.sleep(0.2)


def _reopen_rotated(files: dict[str, Path], streams: dict[str, Any]) -> None:
    for name, file in files.items():
        if file.exists() and (name not in streams or file.stat().st_size < streams[name].tell()):
            streams[name] = file.open(errors="replace")


def readable(line: str, *, colors: bool = False) -> str:
    """One line for a person: `time [level] event  key=value`, with a traceback below it."""
    line = line.rstrip("\n")
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict) or "event" not in event:
        return line
    out = StringIO()
    exception = event.pop("exception", "")
    try:
        out.write(structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)(None, "", event))
    except Exception:  # noqa: BLE001  somebody else's JSON, with other types under these names
        return line
    return out.getvalue() + (f"\n{exception}" if exception else "")
