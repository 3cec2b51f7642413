"""Reports as a person runs them: started by name, followed, and told in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from rich.console import Console

from switchyard import progress, workflows
from switchyard.console import REFUSED, UNSUCCESSFUL
from switchyard.report import Report
from switchyard.settings import settings


def start(app: Celery, report: Report, parameters: Mapping[str, str]) -> str:
    """Start a report by one message; returns its workflow's id. Raises WorkflowError when the broker takes none."""
    return workflows.start(app, report.start_task, **parameters)


def follow(ids: Mapping[str, str], console: Console) -> int:
    """Show reports' workflows side by side, by name, then what came of each; returns an exit code, 0 if all were made."""
    metas = progress.follow_all(ids, console)
    for name, meta in metas.items():
        console.print()
        console.print(_outcome(name, meta), markup=False)
        if meta.state == "done" and isinstance(meta.result, dict):
            for line in _lines(meta.result):
                console.print(line, markup=False)
    states = {meta.state for meta in metas.values()}
    return REFUSED if "cancelled" in states else UNSUCCESSFUL if states - {"done"} else 0


def _outcome(name: str, meta: workflows.Meta) -> str:
    if meta.state != "done":
        return f"{name} was not made: {meta.reason}"
    return f"{name}: {meta.result['message'] if isinstance(meta.result, dict) else meta.reason}"


def _lines(result: Mapping[str, Any]) -> list[str]:
    """The headline and the files, one line each: a table would break a path in two."""
    rows = [*((str(label), _number(value)) for label, value in result.get("headline", ())),
            *((file.rsplit(".", 1)[-1], _seen(file)) for file in result.get("files", ()))]  # fmt: skip
    width = max((len(label) for label, _ in rows), default=0)
    return [f"{label:<{width}}  {text}" for label, text in rows]


def _seen(file: str) -> str:
    """A file's path as whoever reads it finds it: a container's paths are nobody else's."""
    config = settings()
    path = Path(file)
    if config.artefacts_host_dir and path.is_relative_to(config.artefacts_dir):
        return str(config.artefacts_host_dir / path.relative_to(config.artefacts_dir))
    return file


def _number(value: object) -> str:
    if value is None:
        return "–"  # noqa: RUF001  as on the page
    return f"{value:,}" if isinstance(value, int | float) or hasattr(value, "as_tuple") else str(value)
