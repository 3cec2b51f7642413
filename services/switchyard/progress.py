"""Shows a workflow while it runs: a bar on a terminal, a line every few seconds in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from switchyard.workflows import record

#: Seconds between two looks, and between two lines in a pipe.
LOOK, LINE = 0.25, 5.0


def follow(workflow_id: str, console: Console) -> record.Meta:
    """Show the workflow until it has ended, and return its record. Raises UnknownWorkflow."""
    return follow_all({"": workflow_id}, console)[""]


def follow_all(ids: Mapping[str, str], console: Console) -> dict[str, record.Meta]:
    """Show workflows side by side, each under its label, until all have ended; their records, by label."""
    return _bars(ids, console) if console.is_terminal else _lines(ids, console)


def _looks(ids: Mapping[str, str], console: Console) -> Iterator[dict[str, record.Meta]]:
    away, metas = False, dict[str, record.Meta]()
    while True:
        try:
            metas |= {
                label: record.read(id_) for label, id_ in ids.items() if label not in metas or not metas[label].ended
            }
        except redis.RedisError as exc:
            if not away:
                console.print(f"Redis does not answer ({exc}); the work goes on when it is back.")
            away = True
            time.sleep(1)
            continue
        away = False
        yield metas
        if all(meta.ended for meta in metas.values()):
            return
        time.sleep(LOOK)


def _bars(ids: Mapping[str, str], console: Console) -> dict[str, record.Meta]:
    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TextColumn("failed {task.fields[failed]}"),
               TimeElapsedColumn(), TimeRemainingColumn())  # fmt: skip
    metas: dict[str, record.Meta] = {}
    with Progress(*columns, console=console) as progress:
        bars = {label: progress.add_task(_said(label, f"{'waiting':<9}"), total=None, failed=0) for label in ids}
        for metas in _looks(ids, console):
            for label, meta in metas.items():
                # As wide as the longest state, or the bars would jump from look to look.
                progress.update(bars[label], description=_said(label, f"{meta.state:<9}"), total=meta.total or None,
                                completed=meta.done, failed=meta.failed)  # fmt: skip
                if meta.ended:
                    progress.stop_task(bars[label])
    return metas


def _lines(ids: Mapping[str, str], console: Console) -> dict[str, record.Meta]:
    shown, metas, ended = 0.0, dict[str, record.Meta](), set[str]()
    for metas in _looks(ids, console):
        due = time.monotonic() - shown > LINE
        for label, meta in metas.items():
            if label not in ended and (due or meta.ended):
                console.print(f"{_said(label, meta.state)}: {meta.done} of {meta.total} done, {meta.failed} failed")
                shown = time.monotonic()
            if meta.ended:
                ended.add(label)
    return metas


def _said(label: str, state: str) -> str:
    return f"{label}: {state}" if label else state
