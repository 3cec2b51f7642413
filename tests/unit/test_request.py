"""Why a task has failed for good, in words; and what is no such failure. What becomes of its message is tested with real workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Ignore, Reject, Retry, Terminated, TimeLimitExceeded, WorkerLostError
from celery.utils.serialization import UnpickleableExceptionWrapper
from celery.worker.state import active_requests

from switchyard.broker import aside
from switchyard.worker.request import Request


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def failure_of(exception: BaseException) -> aside.Failure | None:
    request = Request.__new__(Request)
    request._hostname = "default@host"
    return request._failure_of(SimpleNamespace(exception=exception, traceback="the traceback"))


@pytest.mark.parametrize(
    ("exception", "reason", "traceback"),
    [
        (ValueError("on purpose"), "ValueError: on purpose", "the traceback"),
        # as prefork hands it over, or gives it up
        (ExceptionWithTraceback(ValueError("a"), "tb"), "ValueError: a", "the traceback"),
        (UnpickleableExceptionWrapper("m", "Odd", (), "Odd('a')"), "Odd('a')", "the traceback"),
        # one that cannot be said
        (Unspeakable(), "Unspeakable: Unspeakable()", "the traceback"),
        (Reject(), "rejected", "the traceback"),
        (Reject("no such customer"), "rejected: no such customer", "the traceback"),
        # what no code of the task has raised has no traceback of it
        (TimeLimitExceeded(3.0), "it ran beyond its hard time limit of 3.0 s", ""),
        (WorkerLostError("signal 9"), "its process was lost: signal 9", ""),
        (SystemExit(3), "its process was lost: 3", ""),
    ],
)
def test_a_failure_says_what_it_was(exception: BaseException, reason: str, traceback: str) -> None:
    found = failure_of(exception)
    assert found == aside.Failure(reason, traceback, "default@host")


@pytest.mark.parametrize("exception", [Ignore(), Retry(), Terminated(9), Reject(requeue=True)])
def test_what_runs_again_or_was_not_wanted_is_no_failure(exception: BaseException) -> None:
    assert failure_of(exception) is None


def details(traceback: str = "", **headers: Any) -> dict[str, str]:
    found = aside._details(SimpleNamespace(headers=headers), aside.Failure("x", traceback, "w"))
    return dict(zip(found[::2], found[1::2], strict=True))


def test_what_is_kept_of_a_failure_is_bounded_and_can_be_sent() -> None:
    """The end of a traceback; and no half of a character, which would keep whole batches from Redis."""
    assert details("a" * 9000 + "end", task="t", id="1") == {
        "task": "t", "task_id": "1", "traceback": "a" * 7997 + "end", "worker": "w",
    }  # fmt: skip
    assert details("\udc80", id="\ud800") == {"task_id": "?", "traceback": "?", "worker": "w"}


def test_tasks_have_it_in_a_worker_unless_they_have_one_of_their_own(
    config_dir: Path, python: Callable[..., str]
) -> None:
    """A process that only publishes changes nothing of Celery's; nor does a worker of a broker that keeps no letters."""
    (config_dir / "queues.toml").touch()
    code = """
from celery import Celery, signals
from celery.app.task import Task
app = Celery()
app.config_from_object("switchyard.celeryconfig")
class Own(Task):
    Request = "project:Request"
app.conf.worker_consumer
from switchyard.worker import revoked
revoked.remember = lambda: None  # it asks Redis
print(Task.Request)
signals.worker_init.send(None)
print(Task.Request, Own.Request, app.conf.worker_consumer)
"""
    celerys, ours = "celery.worker.request:Request", "switchyard.worker.request:Request"
    assert python(code).split() == [celerys, ours, "project:Request", "switchyard.worker.consumer:Consumer"]
    others = {"CELERY_BROKER_URL": "sentinel://127.0.0.1:1/0", "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/1"}
    said = python(code, **others, BROKER_TRANSPORT="stock").split()
    assert said == [celerys, celerys, "project:Request", "celery.worker.consumer:Consumer"]


def test_a_task_that_has_ended_does_not_reach_its_limit_any_more() -> None:
    """On greenlets, what is done after it (telling monitors, say) counts into its time; it has succeeded all the same."""
    request = Request.__new__(Request)
    request.on_timeout(False, 5.0)
    assert request.failure is None


@pytest.mark.parametrize(
    ("acks_late", "acknowledged", "runs", "kept"),
    [
        (False, True, True, True),
        (True, True, True, False),  # it has just ended: its acknowledgement says so
        (False, True, False, False),  # as this one has
        (False, False, True, False),  # its message goes back
    ],
)
def test_what_a_stop_ends_is_kept_if_nobody_else_has_it(
    monkeypatch: pytest.MonkeyPatch, acks_late: bool, acknowledged: bool, runs: bool, kept: bool
) -> None:
    written: list[str] = []
    monkeypatch.setattr(aside, "write", lambda message, failure: written.append(failure.reason))
    request = Request.__new__(Request)
    request._hostname, request._message = "default@host", None
    request._task, request.acknowledged = SimpleNamespace(acks_late=acks_late), acknowledged
    if runs:
        active_requests.add(request)
    request.lose("it was stopped")
    assert written == ["it was stopped"] * kept
