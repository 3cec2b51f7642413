"""What Celery's request asks of our record, and what is said of workflows that cannot be cancelled or replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.app.task import Task
from celery.worker import state

from switchyard import hooks
from switchyard.errors import UnknownWorkflow, WorkflowConflict
from switchyard.settings import Settings
from switchyard.worker import revoked
from switchyard.worker.request import Request
from switchyard.workflows import attempts, cancelling, items, record
from switchyard.workflows.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def app() -> Iterator[Celery]:
    """One with a task, and a backend that stores nothing."""
    made = Celery("shop", set_as_current=False, backend="cache+memory://")

    @made.task(name="anything", shared=False)
    def anything() -> None: ...

    yield made
    made.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The workflows whose record is looked up; those that are named so were cancelled."""
    found: list[str] = []

    def is_cancelled(workflow_id: str) -> bool:
        found.append(workflow_id)
        return workflow_id == "cancelled"

    monkeypatch.setattr(cancelling, "is_cancelled", is_cancelled)
    return found


def request(app: Celery, task_id: str, acknowledged: list[str], **headers: Any) -> Request:
    message = app.amqp.as_task_v2(task_id, "anything")
    found = {**message.headers, **headers}

    class Message:
        content_type, content_encoding, delivery_info, properties = "application/json", "utf-8", {}, {}
        body, payload, headers = message.body, message.body, found

    made: Request = Request(
        Message(), app=app, on_ack=lambda *_: acknowledged.append(task_id), task=app.tasks["anything"]
    )
    return made


@pytest.mark.parametrize(
    ("task_id", "header", "looked_up"),
    [
        # a workflow's start
        ("cancelled", {"workflow_id": "cancelled"}, True),
        ("another", {"workflow_id": "another", "event_id": "1"}, True),
        # a chunk of one, a task that somebody has published in a workflow's item, a stock publisher's
        ("a-task", {"workflow_id": "cancelled"}, False),
        ("cancelled", {"event_id": "1"}, False),
        ("cancelled", None, False),
        # somebody else's header of this name
        ("cancelled", "cancelled", False),
    ],
)
def test_only_a_workflows_start_costs_a_look_into_the_record(
    app: Celery, asked: list[str], task_id: str, header: Any, looked_up: bool
) -> None:
    """And is acknowledged without being run if its workflow was cancelled."""
    acknowledged: list[str] = []
    found = request(app, task_id, acknowledged, **({} if header is None else {hooks.HEADER: header}))
    is_not_to_run = looked_up and task_id == "cancelled"
    assert found.revoked() is is_not_to_run
    assert asked == ([task_id] if looked_up else [])
    assert acknowledged == ([task_id] if is_not_to_run else [])
    assert found.revoked() is is_not_to_run, "asked again"


def test_what_celery_has_revoked_is_not_looked_up(app: Celery, asked: list[str]) -> None:
    """It is not run either way."""
    acknowledged: list[str] = []
    state.revoked.add("revoked")
    try:
        assert request(app, "revoked", acknowledged, switchyard={"workflow_id": "revoked"}).revoked()
    finally:
        state.revoked.discard("revoked")
    assert (asked, acknowledged) == ([], ["revoked"])


def test_a_worker_has_this_request_for_every_task_that_has_none_of_its_own(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set when it begins; a process that only publishes never loads it."""
    monkeypatch.setattr(Task, "Request", Task.Request)
    monkeypatch.setattr(hooks.stopping, "begin", lambda: None)
    monkeypatch.setattr(hooks, "settings", lambda: Settings(celery_broker_url="redis://nowhere"))
    monkeypatch.setattr(revoked, "remember", lambda: None)  # it asks Redis
    hooks._begin()
    assert app.tasks["anything"].Request == "switchyard.worker.request:Request"


def test_the_reason_says_who_and_when() -> None:
    """By Redis' clock, in UTC."""
    assert cancelling.reason("alice", 1769824800) == "cancelled by alice at 2026-01-31T02:00:00Z"


@pytest.mark.parametrize("state", ["done", "failed"])
def test_an_ended_workflow_is_not_cancelled(state: str) -> None:
    """Nor is one that there is not; any other is, be it that it was before."""
    with pytest.raises(WorkflowConflict, match=f"Workflow w has ended already, as {state}"):
        cancelling.check("w", state)
    with pytest.raises(UnknownWorkflow, match="No workflow has the id 'w'"):
        cancelling.check("w", "")
    for cancelled in ("waiting", "starting", "running", "joining", "cancelled"):
        cancelling.check("w", cancelled)


def meta(state: str, **fields: str) -> record.Meta:
    return record.Meta.parse("w", {"state": state, "attempt": "1", **fields})


FANNED_OUT = {"total": "2", "done": "2", "chunks": "1", "chunk_size": "2"}


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        *((meta(state), f"Attempt 1 of workflow w is under way: {state}") for state in ("waiting", "running", "joining")),
        (meta("cancelled", reason="cancelled by x at T"), "Workflow w was cancelled by x at T; what somebody has stopped"),
        (meta("done", **FANNED_OUT, result='{"status": true}'), "nothing of it has failed"),
        (meta("done", **FANNED_OUT, result="3"), "nothing of it has failed"),
        (meta("done", result="false"), "its task has fanned nothing out"),
        (meta("failed"), "the arguments of its task are not known"),
    ],
)  # fmt: skip
def test_a_workflow_that_has_no_next_attempt_says_why(ended: record.Meta, why: str) -> None:
    """In a sentence; nothing is sent."""
    with pytest.raises(WorkflowConflict, match=why):
        attempts.call(ended)


@pytest.mark.parametrize(
    ("ended", "from_its_start"),
    [
        (meta("done", **FANNED_OUT, failed="1"), 0),
        (meta("failed", **FANNED_OUT, failed="1"), 0),
        # only its callback
        (meta("failed", **FANNED_OUT), 0),
        (meta("done", **FANNED_OUT, result='{"status": false}'), 0),
        (meta("failed", total="0", done="0", chunks="0"), 0),
        # its task, with what it was told
        (meta("failed", arguments="{}"), 1),
    ],
)
def test_a_next_attempt_is_opened_of_what_was_seen(ended: record.Meta, from_its_start: int) -> None:
    """The state and the attempt are the script's condition: whoever comes second finds another one."""
    keys, args = attempts.call(ended)
    assert keys[0] == "switchyard:workflow:w"
    assert (args[:3], args[-1]) == (["w", ended.state, 1], from_its_start)


@pytest.mark.parametrize("how", ["one by one", "at once"])
def test_no_item_starts_once_its_workflow_has_ended(how: str) -> None:
    """Those that run are waited for."""
    begun: list[int] = []
    todo = [(n, n) for n in range(50)]

    def ended() -> bool:
        return len(begun) >= 5

    if how == "one by one":
        found = list(items.one_by_one(begun.append, todo, 60, ended))
    else:
        found = [o for some in Crew(begun.append, todo, 60, asked=2, ended=ended).outcomes(tick=0.01) for o in some]
    assert len(found) == len(begun)
    assert 5 <= len(begun) <= 6
