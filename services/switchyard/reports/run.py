"""Reports as a person runs them: started by name, followed, and told in a few lines."""

from __future__ import annotations

from collections.abc import Mapping

from celery import Celery
from rich.console import Console
from rich.table import Table

from switchyard import progress, workflows
from switchyard.report import Report


def start(app: Celery, report: Report, parameters: Mapping[str, str]) -> str:
    """Start a report by one message; returns its workflow's id. Raises WorkflowError when the broker takes none."""
    return workflows.start(app, report.start_task, **parameters)


def follow(ids: Mapping[str, str], console: Console) -> bool:
    """Show reports' workflows side by side, by name, then what came of each; True if all were made."""
    metas = progress.follow_all(ids, console)
    for name, meta in metas.items():
        console.print()
        console.print(_outcome(name, meta), markup=False)
        if meta.state == "done" and isinstance(meta.result, dict):
            console.print(_table(meta.result), markup=False)
    return all(meta.state == "done" for meta in metas.values())


def _outcome(name: str, meta: workflows.Meta) -> str:
    if meta.state != "done":
        return f"{name} was not made: {meta.reason}"
    return f"{name}: {meta.result['message'] if isinstance(meta.result, dict) else meta.reason}"


def _table(result: Mapping[str, object]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for label, value in result.get("headline", ()):  # type: ignore[attr-defined]
        table.add_row(label, _number(value))
    for file in result.get("files", ()):  # type: ignore[attr-defined]
        table.add_row(file.rsplit(".", 1)[-1], file)
    return table


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) or hasattr(value, "as_tuple") else str(value)
