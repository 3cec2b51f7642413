"""Shows a workflow while it runs: a bar on a terminal, a line every few seconds in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator

import redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from switchyard.workflows import record

#: Seconds between two looks, and between two lines in a pipe.
LOOK, LINE = 0.25, 5.0


def follow(workflow_id: str, console: Console) -> record.Meta:
    """Show the workflow until it has ended, and return its record. Raises UnknownWorkflow."""
    return _bar(workflow_id, console) if console.is_terminal else _lines(workflow_id, console)


def _looks(workflow_id: str, console: Console) -> Iterator[record.Meta]:
    away = False
    while True:
        try:
            meta = record.read(workflow_id)
        except redis.RedisError as exc:
            if not away:
                console.print(f"Redis does not answer ({exc}); the workflow goes on when it is back.")
            away = True
            time.sleep(1)
            continue
        away = False
        yield meta
        if meta.ended:
            return
        time.sleep(LOOK)


def _bar(workflow_id: str, console: Console) -> record.Meta:
    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TextColumn("failed {task.fields[failed]}"),
               TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("waiting", total=None, failed=0)
        for meta in _looks(workflow_id, console):
            progress.update(
                task, description=meta.state, total=meta.total or None, completed=meta.done, failed=meta.failed
            )
    return meta


def _lines(workflow_id: str, console: Console) -> record.Meta:
    shown = 0.0
    for meta in _looks(workflow_id, console):
        if meta.ended or time.monotonic() - shown > LINE:
            console.print(f"{meta.state}: {meta.done} of {meta.total} done, {meta.failed} failed")
            shown = time.monotonic()
    return meta
