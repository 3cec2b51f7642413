"""The short way of a message to its task beside Celery's own: the task sees the same. No network."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.app.trace import build_tracer, reset_worker_optimizations, setup_worker_optimizations
from celery.concurrency import solo
from celery.worker import state, strategy
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.message import Message
from kombu.utils.json import dumps
from structlog.contextvars import get_contextvars

from switchyard import hooks
from switchyard.broker import reading
from switchyard.worker import strategy as ours
from switchyard.worker import tracing

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Project:
    """An app with one task, which notes what it is asked, and what takes its messages as a worker on the solo pool does."""

    def __init__(self) -> None:
        self.app = Celery("project", broker="memory://", set_as_current=False)
        self.seen: list[tuple[Any, Any, dict[str, Any]]] = []
        self.bound: list[dict[str, Any]] = []
        self.settled: list[str] = []
        self.celerys_way: list[Any] = []

        @self.app.task(name="task", bind=True, acks_late=True, ignore_result=True, shared=False)
        def task(task: Any, *args: Any, **kwargs: Any) -> str:
            self.seen.append((args, kwargs, vars(task.request)))
            self.bound.append(get_contextvars())
            if kwargs.get("fails"):
                raise ValueError("on purpose")
            return "done"

        self.task = task
        task.Request = "switchyard.worker.request:Request"
        self.pool = solo.TaskPool(app=self.app)
        self.consumer: Any = SimpleNamespace(
            hostname="default@host", connection_errors=(), event_dispatcher=None, timer=SimpleNamespace(call_at=lambda *args, **_: self.celerys_way.append(args)),
            apply_eta_task=None, disable_rate_limits=False, task_buckets=defaultdict(lambda: None), pool=self.pool,
            _limit_task=lambda *args: self.celerys_way.append(args), _limit_post_eta=None, controller=SimpleNamespace(state=state),
            on_task_request=lambda request: request.execute_using_pool(self.pool), qos=SimpleNamespace(increment_eventually=lambda: None),
        )  # fmt: skip
        setup_worker_optimizations(self.app, "default@host")
        task.__trace__ = build_tracer("task", task, self.app.loader, "default@host", app=self.app)

    def takes(self, handler: Callable[..., Any], message: Message) -> None:
        """Have a strategy take a message."""
        settle = {what: (lambda *_, what=what: self.settled.append(what)) for what in ("ack", "reject")}
        handler(self.task, self.app, self.consumer)(message, None, settle["ack"], settle["reject"], [])

    def message(self, *args: Any, headers: dict[str, Any] | None = None, **kwargs: Any) -> Message:
        """As Celery publishes one, with further headers."""
        made = self.app.amqp.as_task_v2("id", "task", args, kwargs)
        return Message(
            dumps(made.body).encode(), content_type="application/json", content_encoding="utf-8", accept={"application/json"},
            headers={**json.loads(dumps(made.headers)), **(headers or {})}, delivery_info={"exchange": "", "routing_key": "default"},
            properties={"correlation_id": "id", "reply_to": "somebody", "delivery_tag": "1", "priority": 0},
        )  # fmt: skip


@pytest.fixture
def project() -> Iterator[Project]:
    yield Project()
    reset_worker_optimizations()
    state.reset_state()


MESSAGES: dict[str, Callable[[Project], Message]] = {
    "without arguments": lambda p: p.message(),
    "with arguments": lambda p: p.message(1, "two", [3], four={"five": None}),
    "with types that JSON has not": lambda p: p.message(NOW, when=NOW),
    "with headers of its own": lambda p: p.message(headers={"mine": {"a": 1}, hooks.HEADER: {"workflow_id": "w"}}),
    "retried, with limits and a shadow": lambda p: p.message(
        headers={"retries": 2, "timelimit": [5, 4], "shadow": "other", "redelivered": True}
    ),
    "that fails": lambda p: p.message(fails=True),
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_task_is_asked_the_same_in_the_short_way_as_in_celerys(
    project: Project, message: Callable[[Project], Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its request, its arguments, and what becomes of its message. Only `headers` are {} where Celery has None."""
    monkeypatch.setattr("switchyard.broker.aside.keep", lambda *_: None)
    project.takes(strategy.default, message(project))
    project.takes(ours.handler, message(project))
    (args, kwargs, celerys), (our_args, our_kwargs, request) = project.seen
    assert (our_args, our_kwargs) == (args, kwargs)
    assert {**request, "headers": request["headers"] or None} == celerys
    assert project.settled[: len(project.settled) // 2] == project.settled[len(project.settled) // 2 :] == ["ack"]
    assert not state.requests


@pytest.mark.parametrize(
    "headers",
    [
        {"eta": "2999-01-01T00:00:00+00:00"},
        {"expires": "2001-01-01T00:00:00+00:00"},
        {"stamped_headers": ["tenant"], "stamps": {"tenant": ["a"]}},
    ],
    ids=["due later", "expired", "stamped"],
)
def test_what_is_no_plain_message_goes_celerys_way(
    project: Project, headers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Due later, at an end, stamped: each as without us."""
    monkeypatch.setattr(ours, "_request_class", lambda *_: pytest.fail)
    project.takes(ours.handler, project.message(headers=headers))
    assert len(project.seen) == ("stamped_headers" in headers)
    assert len(project.celerys_way) == ("eta" in headers)
    assert project.settled == ([] if "eta" in headers else ["ack"])


def test_a_task_with_a_rate_limit_waits_for_its_bucket(project: Project) -> None:
    """Also one that `control rate_limit` has given it while it runs."""
    take = ours.handler(project.task, project.app, project.consumer)
    project.consumer.task_buckets["task"] = "a bucket"
    take(project.message(), None, None, None, [])
    assert not project.seen
    ((_, bucket, tokens),) = project.celerys_way
    assert (bucket, tokens) == ("a bucket", 1)


def test_a_revoked_task_does_not_run(project: Project) -> None:
    """Neither revoked before its message came, nor since."""
    state.revoked.add("id")
    project.takes(ours.handler, project.message())
    assert (project.seen, project.settled) == ([], ["ack"])
    state.revoked.clear()
    waiting: list[Any] = []
    project.consumer.on_task_request = waiting.append
    project.takes(ours.handler, project.message())
    state.revoked.add("id")
    assert waiting.pop().revoked()
    assert (project.seen, project.settled) == ([], ["ack", "ack"])


@pytest.mark.parametrize(
    "change", [{"Request": "project:Request"}, {"deduplicates": True}], ids=lambda c: next(iter(c))
)
def test_a_task_that_wants_more_has_celerys_strategy(
    project: Project, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of its own, or no second run of what has succeeded."""
    celerys = object()
    monkeypatch.setattr(strategy, "default", lambda *_: celerys)
    assert ours.handler(project.task, project.app, project.consumer) is not celerys
    if "Request" in change:
        project.task.Request = change["Request"]
    project.app.conf.worker_deduplicate_successful_tasks = "deduplicates" in change
    assert ours.handler(project.task, project.app, project.consumer) is celerys


def test_a_workers_heartbeats_make_no_task_longer_and_a_monitor_may_ask_for_its_tasks_at_any_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery's dispatcher is enabled for both; which events it sends is what a remote `enable_events` changes."""
    went: list[str] = []
    monkeypatch.setattr(strategy, "default", lambda *_: lambda *_: went.append("Celery's way"))
    project.consumer.on_task_request = lambda _: went.append("the short one")
    dispatcher = SimpleNamespace(enabled=True, groups={"worker"}, send=lambda *_, **__: None)
    project.consumer.event_dispatcher, project.task.send_events = dispatcher, True
    take = ours.handler(project.task, project.app, project.consumer)
    for groups in ({"worker"}, {"worker", "task"}, {"worker"}, set()):
        dispatcher.groups = groups
        take(project.message(), None, None, None, [])
    assert went == ["the short one", "Celery's way", "the short one", "Celery's way"]
    dispatcher.enabled = False
    take(project.message(), None, None, None, [])
    assert went[4:] == ["the short one"]


def test_a_body_is_read_as_kombu_reads_it(project: Project) -> None:
    """Once; and refused where kombu refuses."""
    message = project.message(1, a=NOW)
    read = reading.body(message)
    assert read == [[1], {"a": NOW}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    assert reading.body(message) is read
    message = project.message(1)
    assert reading.body(message) is message.payload
    for wrong, refusal in ((b"[[], {}", DecodeError), (b"\xff", DecodeError)):
        message = project.message()
        message.body = wrong
        with pytest.raises(refusal):
            reading.body(message)
    message = project.message()
    message.accept = {"application/x-yaml"}
    message.content_type = "application/x-python-serialize"
    with pytest.raises(ContentDisallowed):
        reading.body(message)


@pytest.mark.parametrize("body", [b"{}", b"[1, 2]", b'"args"', b"3", b"null"])
def test_a_body_that_is_no_call_is_refused_as_by_celery(project: Project, body: bytes) -> None:
    """Whatever Celery raises of it."""
    raised = []
    for handler in (strategy.default, ours.handler):
        message = project.message()
        message.body = body
        with pytest.raises(Exception) as caught:
            project.takes(handler, message)
        raised.append((caught.type, str(caught.value)))
    assert raised[0] == raised[1]
    assert not project.seen


def test_a_run_has_its_ids_on_its_lines_and_leaves_none_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound in a context of its own; the signals are not listened to any more."""
    left: list[str] = []
    monkeypatch.setattr(hooks, "leave_ids_alone", lambda: left.append("alone"))
    tracing.bind_ids(project.app)
    ids = {"workflow_id": "w", "attempt": 2}
    before = get_contextvars()
    project.takes(ours.handler, project.message(headers={hooks.HEADER: ids}))
    project.takes(strategy.default, project.message())
    assert [{k: v for k, v in bound.items() if k not in before} for bound in project.bound] == [
        {"task_id": "id", "task": "task", **ids},
        {"task_id": "id", "task": "task"},
    ]
    assert get_contextvars() == before
    assert left


def test_the_run_of_a_start_that_fans_nothing_out_ends_its_workflow(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it has returned; one that fails has its own way, and any other task's id is not its workflow's."""
    ended: list[tuple[Any, ...]] = []
    monkeypatch.setattr(hooks, "leave_ids_alone", lambda: None)
    monkeypatch.setattr(hooks, "_end", lambda *args, **kwargs: ended.append((*args, kwargs["result"])))
    monkeypatch.setattr("switchyard.broker.aside.keep", lambda *_: None)
    monkeypatch.setattr("switchyard.worker.request._is_cancelled", lambda _: False)
    tracing.bind_ids(project.app)
    project.takes(ours.handler, project.message(headers={hooks.HEADER: {"workflow_id": "id"}}))
    project.takes(ours.handler, project.message(fails=True, headers={hooks.HEADER: {"workflow_id": "id"}}))
    project.takes(ours.handler, project.message(headers={hooks.HEADER: {"workflow_id": "another"}}))
    assert len(project.seen) == 3
    assert ended == [("id", "its task ended without fanning out", "done")]
