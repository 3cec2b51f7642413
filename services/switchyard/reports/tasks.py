"""The Celery tasks of a report: start, aggregate one partition, make the artefact, prune. Imported by its two workers.

A worker has those of its own report only; elsewhere (`make render` asks which tasks exist) there are all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from celery import shared_task

from switchyard.errors import ReportError, SwitchyardError
from switchyard.logs import get_logger
from switchyard.report import Report
from switchyard.reports.code import Code, code_of
from switchyard.reports.files import store
from switchyard.reports.page import Facts
from switchyard.reports.parameters import as_text, checked
from switchyard.reports.storage import Folder
from switchyard.routing import current_queues, queue_of
from switchyard.settings import settings
from switchyard.workflows import current, failed_items, fan_out, read

#: Seconds before a partition that raised is tried again; twice as many before each further time.
RETRY_PAUSE = 1.0
#: Characters of a partition that are shown.
LONGEST_PARTITION = 200

log = get_logger(__name__)


def _own_reports() -> Iterable[Report]:
    queues, queue = current_queues(), settings().queue
    if queue is None:
        return queues.reports.values()
    own = queues.report_of(queue)
    return [own] if own else []


def register(report: Report) -> None:
    """Make the tasks of a report known to Celery. Raises as `code_of`."""
    code = code_of(report)

    @shared_task(name=report.start_task)
    def start(**parameters: Any) -> str:
        """Fan the report out over its partitions; returns the workflow's id."""
        partitions = code.partitions(checked(code.parameters, parameters))
        # A partition is a message: its slots fill up evenly, and each that ends moves the bar.
        return fan_out(report.aggregate_task, partitions, callback=report.report_task, chunk_size=1, concurrency=1)

    @shared_task(name=report.aggregate_task)
    def aggregate(partition: Any) -> Any:
        """Aggregate one partition, again if it raised."""
        return _with_retries(report, code, partition)

    @shared_task(name=report.report_task)
    def make(partials: list[Any]) -> dict[str, Any]:
        """Make the artefact of all partials and store it; returns its headline and its files."""
        return _made(report, code, partials)

    @shared_task(name=report.prune_task, ignore_result=True)
    def prune() -> None:
        """Remove the artefacts that are no longer kept, also of a report that nobody runs any more."""
        _prune(report)


def _with_retries(report: Report, code: Code, partition: Any) -> Any:
    over = time.monotonic() + current_queues()[queue_of(report.aggregate_task)].time_limit
    for tried in range(report.retries + 1):
        try:
            return code.aggregate(partition)
        except SwitchyardError:  # a sentence that somebody wrote: it would be the same again
            raise
        except Exception as exc:
            pause = RETRY_PAUSE * 2**tried
            # Libraries turn the interruption at the time limit into errors of their own, which are no reason to go on.
            if tried == report.retries or time.monotonic() + pause > over:
                raise
            log.warning("partition_retried", partition=_short(partition), pause_s=pause, exc_info=exc)
            time.sleep(pause)
    raise AssertionError("unreachable: the last try returns or raises")


def _made(report: Report, code: Code, partials: list[Any]) -> dict[str, Any]:
    workflow = current()
    if workflow is None:
        raise ReportError(f"{report.report_task} belongs to a workflow; start it with `make report R={report.name}`.")
    meta = read(workflow.id)
    if meta.failed:
        partition, result = next(iter(failed_items(workflow.id)))
        raise ReportError(
            f"{meta.failed} of {meta.total} partitions failed, the first is {_short(partition)}: {_message(result)}. "
            f"All of them: make workflow W={workflow.id}"
        )
    parameters = checked(code.parameters, meta.arguments or {})
    artefact = code.report(partials, parameters)
    facts = Facts(report.name, as_text(parameters), workflow.id, datetime.now(UTC))
    files = store(artefact, facts, Folder(settings().artefacts_dir))
    try:
        _prune(report)
    except ReportError as exc:  # what was made is made; the daily task says it again
        log.warning("artefacts_not_pruned", report=report.name, reason=str(exc))
    log.info("report_stored", report=report.name, files=files)
    return {"status": True, "message": artefact.message, "headline": list(artefact.headline), "files": files}


def _short(partition: Any) -> str:
    text = repr(partition)
    return text if len(text) <= LONGEST_PARTITION else f"{text[:LONGEST_PARTITION]}…"


def _message(result: Any) -> str:
    return str(result.get("message", result)) if isinstance(result, dict) else str(result)


def _prune(report: Report) -> None:
    removed = Folder(settings().artefacts_dir).prune(report.name, keep=report.keep, keep_days=report.keep_days)
    if removed:
        log.info("artefacts_pruned", report=report.name, removed=removed)


for _report in _own_reports():
    register(_report)
