"""The HTTP door as a real process on a real Redis: what it accepts, refuses and answers, and what it does when Redis is away."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.artefacts import bars, facts
from tests.calling import Answer, Door, event, head
from tests.support import ROOT, Deployment, Server, eventually

from switchyard.reports.files import store
from switchyard.reports.storage import Folder

QUEUES = """
[queues.default]
tasks = ["*"]

[queues.small]
tasks = ["small"]
max_waiting = 2

[reports.trials]
module = "project.reports.trials"
"""
EVENTS = """
[events."thing.happened"]
workflow = "misbehave"
parameters = { item = "item", note = "note.text?" }

[events."small.happened"]
workflow = "small"

[[events."thing.sold"]]
workflow = "misbehave"
parameters = { item = "item" }
when = { country = ["DE", "FR"] }
path = "/v1/sales"

[events."catalog.refresh.requested"]
workflow = "misbehave"
path = "/v1/products/refresh"
"""
PATHS = ("/v1/events", "/v1/reports/trials", "/v1/products/refresh")


def prepared(deployment: Deployment) -> Deployment:
    deployment.queues(QUEUES)
    deployment.events(EVENTS)
    return deployment


@pytest.fixture(scope="module")
def served(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One process for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("door")
    deployment = prepared(Deployment(redis_server, folder, "project.celery:app", ROOT / "tests" / "integration"))
    yield Door(deployment)
    deployment.close()


@pytest.fixture
def door(served: Door) -> Iterator[Door]:
    """The shared process; what it recorded is gone afterwards."""
    yield served
    served.deployment.server.client().flushall()


@pytest.fixture
def own_door(own_deployment: Deployment) -> Door:
    """A process of the test's own, on a Redis that the test may kill."""
    return Door(prepared(own_deployment))


def records(door: Door) -> dict[str, dict[str, str]]:
    """Every workflow's record, by id."""
    client = door.deployment.server.client()
    ids = client.zrange("switchyard:workflows:all", 0, -1)
    return {id_: client.hgetall(f"switchyard:workflow:{id_}") for id_ in ids}


def problem(answer: Answer) -> str:
    """The detail of an answer that is a well-formed problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json.keys() == {"type", "title", "status", "detail"}
    assert answer.json["status"] == answer.status
    return str(answer.json["detail"])


# Accepting


def test_an_event_is_recorded_before_it_is_answered(door: Door) -> None:
    """202, where to look, and a record in the outbox with all that its start needs."""
    answer = door.tell(event(1, data={"item": 1, "note": {"text": "so"}}))

    workflow = answer.json["workflow"]
    assert (answer.status, answer.json["state"]) == (202, "accepted")
    assert answer.json["event"] == {"source": "/tests", "id": "1"}
    assert answer.headers["location"] == f"/v1/workflows/{workflow}"
    record = records(door)[workflow]
    assert (record["state"], record["name"]) == ("waiting", "misbehave")
    assert json.loads(record["arguments"]) == {"item": 1, "note": "so"}
    assert door.deployment.server.client().zrange("switchyard:outbox", 0, -1) == [workflow]
    assert door.get(answer.headers["location"]).json["event"] == {
        "source": "/tests",
        "id": "1",
        "type": "thing.happened",
    }


def test_a_repeated_event_answers_with_the_same_workflow(door: Door) -> None:
    """However often, and in a batch, too."""
    first = door.tell(event(1)).json
    again = door.tell(event(1))
    assert (again.status, again.json) == (202, {**first, "state": "repeated"})
    assert [each["state"] for each in door.tell(event(1), event(2), event(2)).json] == [
        "repeated",
        "accepted",
        "repeated",
    ]
    assert len(records(door)) == 2


def test_another_event_of_the_same_name_is_a_conflict(door: Door) -> None:
    """Alone, beside what was accepted, and within a batch, of which nothing is accepted then."""
    door.tell(event(1))
    assert "was accepted before" in problem(door.tell(event(1, data={"item": 2})))
    assert door.tell(event(5), event(1, data={"item": 2})).status == 409
    within = door.tell(event(6), event(6, data={"item": 7}))
    assert within.status == 409
    assert problem(within).startswith("[1] id: ")
    assert len(records(door)) == 1


@pytest.mark.parametrize(
    ("wrong", "status", "why"),
    [
        (event(2, type="thing.happend"), 422, "[1] type: nothing waits for"),
        (event(2, data={}), 422, "[1] data.item is missing"),
        (event(2, id=""), 400, "[1] id: "),
        (None, 400, "[1] "),
    ],
)
def test_a_batch_is_accepted_whole_or_not_at_all(door: Door, wrong: Any, status: int, why: str) -> None:
    """One event that is refused refuses all, and is named by its place."""
    answer = door.tell(event(1), wrong)
    assert answer.status == status
    assert problem(answer).startswith(why)
    assert records(door) == {}


def test_an_event_that_no_filter_lets_through_is_ignored(door: Door) -> None:
    """Which is no error: its sender need not know who listens."""
    answer = door.tell(event(1, type="thing.sold", data={"item": 1, "country": "US"}))
    assert (answer.status, answer.json["state"], answer.json["workflow"]) == (200, "ignored", None)
    assert "location" not in answer.headers
    both = door.tell(event(1, type="thing.sold"), event(2))
    assert (both.status, [each["state"] for each in both.json]) == (202, ["ignored", "accepted"])
    assert door.tell({"item": 1}, path="/v1/sales").status == 200
    assert door.tell({"item": 1, "country": "FR"}, path="/v1/sales").status == 202


@pytest.mark.parametrize(
    ("content_type", "value", "status"),
    [
        ("application/cloudevents+json", event(1), 202),
        ("application/cloudevents+json; charset=UTF-8", event(1), 202),
        ('application/json;charset="utf-8"', [event(1)], 202),
        ("application/cloudevents-batch+json", [event(1)], 202),
        ("application/cloudevents-batch+json", event(1), 400),
        ("application/cloudevents+json", [event(1)], 400),
    ],
)
def test_the_content_type_says_whether_it_is_a_batch(door: Door, content_type: str, value: Any, status: int) -> None:
    """Plain JSON says it by itself."""
    assert door.tell(value, Content_Type=content_type).status == status


def test_bare_requests_become_events_of_their_caller(door: Door) -> None:
    """A report with its parameters, a path of events.toml with its data, and both without a body."""
    for path, body, name, arguments in [
        ("/v1/reports/trials", b'{"count": 2}', "reports.trials", {"count": 2}),
        ("/v1/reports/trials", None, "reports.trials", {}),
        ("/v1/products/refresh", b"{}", "misbehave", {}),
        ("/v1/products/refresh", None, "misbehave", {}),
    ]:
        answer = door.ask("POST", path, body, Content_Type="application/json")
        assert answer.status == 202, answer.body
        record = records(door)[answer.json["workflow"]]
        assert (record["name"], json.loads(record["arguments"])) == (name, arguments)
        assert record["event_source"] == answer.json["event"]["source"] == f"{path}#alice"
    assert len(records(door)) == 4


@pytest.mark.parametrize("path", PATHS[1:])
def test_an_idempotency_key_names_the_event(door: Door, path: str) -> None:
    """The same key and body start one workflow; another body is a conflict, another caller another event."""
    first = door.tell({"a": 1}, path=path, Idempotency_Key="k/1")
    assert first.json["event"]["id"] == "k/1"
    assert door.tell({"a": 1}, path=path, Idempotency_Key="k/1").json == {**first.json, "state": "repeated"}
    assert door.tell({"a": 2}, path=path, Idempotency_Key="k/1").status == 409
    assert door.tell({"a": 1}, path=path, Idempotency_Key="k/1", token="carols-token").json["state"] == "accepted"
    for key in ("", "k" * 257, "two words", "ü"):
        assert problem(door.tell({}, path=path, Idempotency_Key=key)).startswith("Idempotency-Key: "), key


def test_a_report_that_there_is_not_is_not_found(door: Door) -> None:
    """The answer says which there are."""
    for answer in (door.tell({}, path="/v1/reports/trial"), door.get("/v1/reports/nope")):
        assert answer.status == 404
        assert "trials" in problem(answer)


def test_requests_that_come_together_are_accepted_each_for_itself(door: Door) -> None:
    """They share a call of Redis, and neither answers nor refusals get mixed up."""
    sent = [event(n // 2) if n % 10 else event("same", data={"item": n}) for n in range(400)]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(door.tell, sent))
    for given, answer in zip(sent, answers, strict=True):
        if given["id"] == "same":
            assert answer.status in (202, 409)
        else:
            assert (answer.status, answer.json["event"]["id"]) == (202, given["id"])
    assert sum(a.status == 202 for a, e in zip(answers, sent, strict=True) if e["id"] == "same") == 1
    assert len(records(door)) == len({e["id"] for e in sent})


# The guard


@pytest.mark.parametrize(
    "path", [*PATHS, "/v1/workflows", "/v1/reports", "/openapi.json", "/", "/v1/nothing", "/healthz/"]
)
def test_without_a_token_that_is_known_nothing_is_answered(door: Door, path: str) -> None:
    """Not even whether there is such a path."""
    for token, told in [
        (None, "Bearer"),
        ("bobs-token", 'Bearer error="invalid_token"'),
        ("", 'Bearer error="invalid_token"'),
    ]:
        for method in ("GET", "POST"):
            answer = door.ask(method, path, token=token)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == told
            problem(answer)
    assert door.get(path, Authorization="Basic YWxpY2U6YWxpY2VzLXRva2Vu").status == 401
    assert door.raw(head("Authorization: Bearer carols-token", "Content-Length: 2", path=path), b"{}").status == 401


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1.example.com", "localhost.", "[::2]", "localhost:x", "", "a@localhost"]
)
def test_a_foreign_host_is_refused_first(door: Door, host: str) -> None:
    """A page that has rebound its own name to this machine names itself."""
    for path in (*PATHS, "/healthz"):
        assert door.get(path, Host=host, Authorization="").status == 421
    problem(door.get("/healthz", Host=host))


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1", "[::1]", "[::1]:8000"])
def test_a_known_host_may_have_any_port(door: Door, host: str) -> None:
    """There may be a tunnel in between."""
    assert door.get("/healthz", Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "multipart/form-data; boundary=x"},
        {"Content_Type": "application/json; charset=latin-1"},
        {"Content_Type": "application/json, text/plain"},
        {"Content_Type": ""},
        {"Content_Type": "application/json", "Content_Encoding": "gzip"},
        {},
    ],
    ids=str,
)
def test_a_body_that_is_not_said_to_be_json_is_refused(door: Door, headers: dict[str, str]) -> None:
    """What a browser sends unasked is never JSON."""
    for path in PATHS:
        answer = door.ask("POST", path, json.dumps(event(1)).encode(), **headers)
        assert answer.status == 415
        problem(answer)
    assert door.ask("POST", "/v1/products/refresh", Content_Type="text/plain").status == 415
    assert door.tell({}, path="/v1/products/refresh", Content_Type="application/cloudevents+json").status == 415


def test_editing_one_file_revokes_a_token(own_door: Door) -> None:
    """And grants another; nothing is restarted. Bad lines are told by their number, without the file every caller is unknown."""
    assert own_door.get("/v1/workflows", Authorization="Bearer carols-token").status == 200
    own_door.tokens.write_text("alice:alices-token\nsecret words\nbob:bobs-token\n")
    assert own_door.get("/v1/workflows", Authorization="Bearer carols-token").status == 401
    assert own_door.get("/v1/workflows", Authorization="Bearer bobs-token").status == 200
    [skipped] = own_door.lines("caller_skipped")
    assert skipped["line"] == 2
    own_door.tokens.unlink()
    assert own_door.get("/v1/workflows").status == 401
    assert own_door.get("/healthz").status == 200
    assert not [word for word in ("alices-token", "bobs-token", "carols-token", "secret words") if word in own_door.log]


def test_other_methods_and_paths_are_problems(door: Door) -> None:
    """With what there is instead."""
    for method in ("DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"):
        answer = door.ask(method, "/v1/reports/trials")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
        problem(answer)
    assert door.get("/v1/events").headers["allow"] == "POST"
    for path in ("/v1/nothing", "/v1/events/", "/v1", "/docs", "/redoc", "//v1/events"):
        assert door.get(path).status == 404
        problem(door.get(path))
    answer = door.ask("HEAD", "/v1/workflows")
    assert (answer.status, answer.body) == (405, b"")


def test_what_is_accepted_and_refused_is_logged_with_its_caller(door: Door) -> None:
    """One line each, which has no secret in it."""
    known = {name: len(door.lines(name)) for name in ("event_accepted", "event_refused", "request_refused")}
    accepted = door.tell(event("logged"), token="carols-token").json
    door.tell(event(1, type="no.such"))
    door.ask("POST", "/v1/events", b"", token="wrong-token")

    [line] = door.lines("event_accepted")[known["event_accepted"] :]
    assert (line["caller"], line["door"], line["event_id"], line["workflow_id"]) == (
        "carol",
        "http",
        "logged",
        accepted["workflow"],
    )
    [line] = door.lines("event_refused")[known["event_refused"] :]
    assert (line["caller"], line["door"], line["status"]) == ("alice", "http", 422)
    assert "no.such" in line["reason"]
    [line] = door.lines("request_refused")[known["request_refused"] :]
    assert "caller" not in line
    assert not [word for word in ("alices-token", "carols-token", "wrong-token") if word in door.log]


def test_the_document_needs_a_token_and_names_what_is_configured(door: Door) -> None:
    """Types, reports, paths; and no page that would load scripts from elsewhere."""
    document = door.get("/openapi.json").json
    schemas = document["components"]["schemas"]
    assert set(schemas["CloudEvent"]["properties"]["type"]["enum"]) == {
        "thing.happened", "small.happened", "thing.sold", "catalog.refresh.requested", "report.requested",
    }  # fmt: skip
    assert schemas["ReportName"]["enum"] == ["trials"]
    assert {"/v1/events", "/v1/sales", "/v1/products/refresh", "/v1/reports/{report}/{file}"} <= document[
        "paths"
    ].keys()
    assert document["security"] == [{"token": []}]
    for example in schemas["CloudEvent"]["examples"]:
        assert door.tell(example).status in (200, 202), example


# Looking


def test_workflows_are_listed_newest_first_page_by_page(door: Door) -> None:
    """Each once, though those of one batch are equally old; a record that has expired is left out."""
    made = [answer["workflow"] for answer in door.tell(*[event(n) for n in range(25)]).json]
    newest = door.tell(event("newest")).json["workflow"]
    gone = made.pop()
    door.deployment.server.client().delete(f"switchyard:workflow:{gone}")

    pages, path = [], "/v1/workflows?limit=10"
    while path:
        page = door.get(path).json
        pages.append([each["id"] for each in page["workflows"]])
        path = page["next"]

    assert pages[0][0] == newest
    assert sorted(id_ for page in pages for id_ in page) == sorted([newest, *made])
    assert [len(page) for page in pages] == [10, 10, 5]
    assert len(door.get("/v1/workflows").json["workflows"]) == 20


def test_workflows_can_be_listed_by_state(door: Door) -> None:
    """Beyond those that are looked at for one page, the next one goes on."""
    made = [answer["workflow"] for answer in door.tell(*[event(n) for n in range(1000)]).json]
    client = door.deployment.server.client()
    oldest = client.zrange("switchyard:workflows:all", 0, 0)[0]
    client.hset(f"switchyard:workflow:{oldest}", "state", "failed")
    door.tell(event("one more"))

    first = door.get("/v1/workflows?state=failed&limit=1").json
    assert first["workflows"] == []
    second = door.get(first["next"]).json
    assert [each["id"] for each in second["workflows"]] == [oldest]
    assert oldest in made
    assert second["next"] is None or door.get(second["next"]).json == {"workflows": [], "next": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "state=gone", "limit="])
def test_a_page_that_cannot_be_is_refused(door: Door, query: str) -> None:
    """With the parameter's name."""
    answer = door.get(f"/v1/workflows?{query}")
    assert answer.status == 422
    assert problem(answer).startswith(query.split("=", maxsplit=1)[0])


def test_a_result_that_json_does_not_have_is_null(door: Door) -> None:
    """A task may return NaN, which Python writes and nobody else reads."""
    client = door.deployment.server.client()
    client.hset("switchyard:workflow:odd", mapping={"state": "done", "result": '{"rate": NaN}'})
    assert json.loads(door.get("/v1/workflows/odd").body)["result"] == {"rate": None}


def test_what_lies_beside_a_record_is_no_workflow(door: Door) -> None:
    """Its failed items are a key of another type, which must not become a 500."""
    door.deployment.server.client().zadd("switchyard:workflow:a:failed", {"1": 1})
    assert door.get("/v1/workflows/a:failed").status == 404
    assert door.get("/v1/workflows/a:failed/stream").status == 404


def test_an_unknown_workflow_is_not_found(door: Door) -> None:
    """It may have expired."""
    for path in ("/v1/workflows/nope", "/v1/workflows/nope/stream", "/v1/workflows?before=nope"):
        answer = door.get(path)
        assert answer.status == 404
        assert "it may have expired" in problem(answer)


def stream(door: Door, workflow: str) -> Iterator[tuple[str, Any]]:
    """The events of a workflow's stream, each as its name and its data, until the stream ends."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
    connection.request("GET", f"/v1/workflows/{workflow}/stream", headers={"Authorization": "Bearer alices-token"})
    response = connection.getresponse()
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    try:
        while name := response.readline():
            if name.startswith(b":"):  # a sign of life
                assert response.readline() == b"\n"
                continue
            data = response.readline()
            assert response.readline() == b"\n"
            yield name.decode().removeprefix("event: ").strip(), json.loads(data.decode().removeprefix("data: "))
    finally:
        connection.close()


def test_a_stream_tells_each_change_and_the_end(door: Door) -> None:
    """With the same JSON as the workflow itself; then it is closed."""
    workflow = door.tell(event(1)).json["workflow"]
    key, client = f"switchyard:workflow:{workflow}", door.deployment.server.client()
    events = stream(door, workflow)

    assert next(events) == ("progress", door.get(f"/v1/workflows/{workflow}").json)
    client.hset(key, mapping={"state": "running", "total": 10, "done": 4})
    name, running = next(events)
    assert (name, running["state"], running["done"], running["total"]) == ("progress", "running", 4, 10)
    client.hset(key, mapping={"state": "done", "done": 10, "result": '{"status": true}'})
    progress, end = list(events)
    ended = door.get(f"/v1/workflows/{workflow}").json
    assert (progress, end) == (("progress", ended), ("end", ended))
    assert (ended["state"], ended["result"]) == ("done", {"status": True})


def test_a_stream_ends_when_its_workflow_expires(door: Door) -> None:
    """With what was known last."""
    workflow = door.tell(event(1)).json["workflow"]
    events = stream(door, workflow)
    known = next(events)[1]
    door.deployment.server.client().delete(f"switchyard:workflow:{workflow}")
    assert list(events) == [("end", known)]


def test_results_that_are_no_plain_json_are_shown(door: Door) -> None:
    """Celery's JSON has decimals and dates of its own."""
    workflow = door.tell(event(1)).json["workflow"]
    result = '{"sum": {"__type__": "decimal", "__value__": "1.10"}}'
    door.deployment.server.client().hset(f"switchyard:workflow:{workflow}", mapping={"state": "done", "result": result})
    assert door.get(f"/v1/workflows/{workflow}").json["result"] == {"sum": "1.10"}
    assert [name for name, _ in stream(door, workflow)] == ["progress", "end"]


# Reports


def test_a_reports_artefacts_are_listed_and_sent(door: Door) -> None:
    """Newest first; the table as a download, the page with a policy under which its own style works and nothing else."""
    artefacts = Folder(door.deployment.folder / "state" / "artefacts")
    for number, period in enumerate(("2016", "2017")):
        for path in store(bars(), facts("trials", period=period), artefacts):
            os.utime(path, (1_700_000_000 + number,) * 2)
    (artefacts.root / "trials" / "notes.txt").write_text("somebody's")

    assert door.get("/v1/reports").json == {"reports": [{"name": "trials", "links": {"self": "/v1/reports/trials"}}]}
    newest, oldest = door.get("/v1/reports/trials").json["artefacts"]
    assert (newest["made"], oldest["made"]) == ("2023-11-14T22:13:21.000Z", "2023-11-14T22:13:20.000Z")
    assert newest["name"].startswith("trials-2017-")
    answers = {file["media_type"]: (file, door.get(file["href"])) for file in newest["files"]}
    for media_type, (file, answer) in answers.items():
        assert (answer.status, answer.headers["content-type"], len(answer.body)) == (200, media_type, file["bytes"])
        assert answer.headers["x-content-type-options"] == "nosniff"
    csv, page = (answers[kind][1] for kind in ("text/csv; charset=utf-8", "text/html; charset=utf-8"))
    assert csv.headers["content-disposition"] == f'attachment; filename="{newest["name"]}.csv"'
    assert b"Campaign 18" in csv.body
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.headers["content-security-policy"]
    assert b"<html" in page.body


@pytest.mark.parametrize(
    "path",
    [
        "trials/../../secrets/api_tokens",
        "trials/..%2f..%2fsecrets%2fapi_tokens",
        "trials/%2e%2e/secrets",
        "trials/trials-2017-0123456789ab.csv%00",
        "trials/trials-2017-0123456789ab.py",
        "trials/.trials-2017-0123456789ab.csv",
        "trials/notes.txt",
        "trials/trials-2017-ffffffffffff.csv",
        "..%2fsecrets/api_tokens",
        "trials/others-2017-0123456789ab.csv",
    ],
)
def test_nothing_but_artefacts_is_sent(door: Door, path: str) -> None:
    """No path leads out of the folder, or to what else is in it."""
    answer = door.get(f"/v1/reports/{path}")
    assert answer.status == 404
    problem(answer)


# Hostile bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"specversion": "1.0"',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        json.dumps(event(1)).encode("utf-16"),
        json.dumps(event("é"), ensure_ascii=False).encode("latin-1"),
        b"\xef\xbb\xbf" + json.dumps(event(1)).encode(),
        json.dumps(event(1)).encode()[:-1] + b', "id": "2"}',
        b'{"a": 1, ' + b", ".join(b'"%d": 1' % n for n in range(80_000)) + b', "a": 2}',
        json.dumps(event(1, data={"item": 10**40})).encode(),
        b"1" * 1_000_000,
        b"1e999",
        json.dumps(event(1, data=float("nan"))).encode(),
        json.dumps(event(1, data="\ud800")).encode(),
        json.dumps(event(1, data={"item": {"__type__": "datetime", "__value__": "never"}})).encode(),
        json.dumps(event("a\x00b")).encode(),
        json.dumps(event(1, data_base64="e30=")).encode(),
        json.dumps(event(1, **{f"a{n}": n for n in range(20_000)}, Upper="x")).encode(),
        b"null",
        b"[]",
        json.dumps([event(n) for n in range(1001)]).encode(),
        b"\x00" * 1000,
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
    ],
    ids=lambda body: f"{len(body)}-{body[:12]!r}",
)  # fmt: skip
def test_a_hostile_body_is_refused(door: Door, body: bytes) -> None:
    """As no event; the door goes on."""
    for path in PATHS if body else PATHS[:1]:
        answer = door.ask("POST", path, body, Content_Type="application/json")
        assert answer.status in (400, 413, 422) if path == "/v1/events" else answer.status in (202, 400, 413), path
        if answer.status != 202:
            problem(answer)
    assert door.is_healthy()
    assert door.ask("POST", "/v1/events", body, Content_Type="application/json").status in (400, 413, 422)


@pytest.mark.parametrize("size", [1024**2 + 1, 10 * 1024**2])
def test_a_body_that_is_too_large_is_refused_however_it_comes(door: Door, size: int) -> None:
    """By its announcement alone; while it is read where there is none; and to a client that sends all before it reads."""
    announced = door.raw(head(f"Content-Length: {size}"), b"x")
    assert announced.status == 413
    problem(announced)
    body = b" " * size
    assert door.ask("POST", "/v1/events", body, Content_Type="application/json").status == 413
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = door.raw(head("Transfer-Encoding: chunked"), *[chunk] * (size // 0x10000 + 1), b"0\r\n\r\n")
    assert answer.status == 413
    assert door.is_healthy()


def test_the_largest_body_is_taken(door: Door) -> None:
    """A megabyte to the byte."""
    body = json.dumps(event(1)).encode()
    assert door.ask("POST", "/v1/events", body.ljust(1024**2), Content_Type="application/json").status == 202


@pytest.mark.parametrize(
    "sent",
    [
        [head("Content-Length: 1000"), b"{"],
        [head("Transfer-Encoding: chunked"), b"1\r\n{\r\n"],
        [head("Transfer-Encoding: chunked"), b"ffff\r\n{"],
        [head("Content-Length: 10", "Expect: 100-continue")],
    ],
    ids=lambda sent: str(sent[0][-40:]),
)
def test_a_body_that_never_ends_is_given_up(door: Door, sent: list[bytes]) -> None:
    """408, and the connection is closed."""
    with door.send(*sent) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.headers["connection"]) == (408, "close")
        response.read()
        assert connection.recv(1) == b""
    assert door.is_healthy()


@pytest.mark.parametrize(
    "sent",
    [
        head("Transfer-Encoding: gzip, chunked") + b"1\r\n{\r\n0\r\n\r\n",
        head("Transfer-Encoding: nonsense") + b"{}",
        head("Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n",
        head("Content-Length: 2", "Content-Length: 3") + b"{}x",
        head("Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("Content-Length: -1"),
        head("Content-Length: 1" + "0" * 30),
        head("Content-Length: 2", "Host: localhost") + b"{}",
        head("Content-Length: 2", "Idempotency-Key: a\x00b") + b"{}",
        head("Content-Length: 2", "Upgrade: websocket", "Connection: Upgrade") + b"{}",
        head("Content-Length: 2", "Bad Name: x") + b"{}",
        b"POST /v1/events HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://example.com/v1/workflows HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"NONSENSE\r\n\r\n",
    ],
    ids=lambda sent: str(sent[-50:]),
)  # fmt: skip
def test_odd_requests_are_refused(door: Door, sent: bytes) -> None:
    """Some by the server before they are requests; none hangs, none is a success, none harms."""
    with suppress(http.client.BadStatusLine, ConnectionError):  # closed without an answer
        assert 400 <= door.raw(sent).status < 500
    assert door.is_healthy()


@pytest.mark.parametrize("line", [b"X-Long: " + b"x" * 10_000_000, b"X: y\r\n" * 1_000_000])
def test_a_head_without_end_is_cut_off(door: Door, line: bytes) -> None:
    """One long line, and many short ones; before anything of it is believed."""
    with suppress(ConnectionError):  # it may be closed while the rest is on its way
        assert door.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", line).status == 400
    assert door.is_healthy()


def test_requests_in_one_packet_are_answered_in_turn(door: Door) -> None:
    """A refused one in between harms neither of the others."""
    good = json.dumps(event(1)).encode()
    length = f"Content-Length: {len(good)}"
    with door.send(
        head(length) + good + head(length, path="/v1/nothing") + good + head(length, "Connection: close") + good
    ) as connection:
        whole = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", whole) == [b"202", b"404", b"202"]


# Back-pressure


def test_a_queue_at_its_bound_takes_no_more_events(door: Door) -> None:
    """503 with a time to try again, and nothing recorded; other queues' events go on."""
    broker = door.deployment.server.client(database=0)
    broker.rpush("small", "1", "2")
    eventually(lambda: door.tell(event(1, type="small.happened")).status == 503, "the bound to be seen")
    refused = door.tell(event(2, type="small.happened"))
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert "small" in problem(refused)
    assert door.tell(event(3), event(4, type="small.happened")).status == 503
    assert door.tell(event(5)).status == 202
    broker.delete("small")
    eventually(lambda: door.tell(event(2, type="small.happened")).status == 202, "the room to be seen")


def test_every_event_that_was_answered_202_outlives_redis(own_door: Door) -> None:
    """Redis is killed while events come: 503 with a time to try again. It is back: so are they, and what was accepted is."""
    server = own_door.deployment.server
    answers: dict[int, Answer] = {}

    def tell(number: int) -> None:
        answers[number] = own_door.tell(event(number))
        if number == 150:
            server.kill()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(400)))
    assert own_door.get("/readyz").status == 503
    refused = own_door.tell(event("meanwhile"))
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    for path in ("/v1/workflows", "/v1/workflows/x", "/v1/workflows/x/stream"):
        problem(own_door.get(path))
    assert own_door.get("/healthz").status == 200
    server.start()

    assert own_door.get("/readyz").status == 200
    assert {answer.status for answer in answers.values()} == {202, 503}
    found = records(own_door)
    assert all(answer.json["workflow"] in found for answer in answers.values() if answer.status == 202)
    assert [own_door.tell(event(number)).status for number in range(0, 400, 10)] == [202] * 40


def test_a_redis_that_hangs_is_not_waited_for(own_door: Door) -> None:
    """Every request is answered within its deadline, streams go on when it is back."""
    server = own_door.deployment.server
    workflow = own_door.tell(event(1)).json["workflow"]
    events = stream(own_door, workflow)
    next(events)
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(own_door.tell, [event(n) for n in range(16)]))
        assert {(a.status, a.headers["retry-after"]) for a in answers} == {(503, "5")}
        assert own_door.get("/readyz").status == 503
        assert own_door.get("/healthz").status == 200
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    eventually(lambda: own_door.tell(event(1)).status == 202, "the door to accept again")
    server.client().hset(f"switchyard:workflow:{workflow}", "state", "done")
    assert [name for name, _ in events][-1] == "end"


def test_a_redis_that_is_full_takes_nothing_and_says_so(own_door: Door) -> None:
    """Its memory, or the outbox that nobody empties."""
    client = own_door.deployment.server.client()
    client.config_set("maxmemory", "1mb")
    full = own_door.tell(event(1))
    assert (full.status, full.headers["retry-after"]) == (503, "5")
    assert own_door.tell(event(1), event(2)).status == 503
    assert own_door.get("/v1/workflows").status == 200
    client.config_set("maxmemory", "0")
    for start in range(0, 100_000, 10_000):
        client.zadd("switchyard:outbox", {str(n): n for n in range(start, start + 10_000)})
    assert "wait to be published" in problem(own_door.tell(event(1)))
    client.delete("switchyard:outbox")
    assert own_door.tell(event(1)).json["state"] == "accepted"


def test_a_flush_and_a_forgotten_script_are_no_hindrance(own_door: Door) -> None:
    """The script is loaded again."""
    own_door.tell(event(1))
    own_door.deployment.server.client().flushall()
    own_door.deployment.server.client().script_flush()
    assert own_door.tell(event(1)).json["state"] == "accepted"


# The process


def test_a_port_that_is_taken_is_a_sentence(deployment: Deployment) -> None:
    """And exit code 1."""
    prepared(deployment)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "switchyard", "producer"], env={**deployment.environment, "API_PORT": port},
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Port {port} is in use. Set API_PORT to a free one." in done.stderr


def test_a_stop_ends_streams_and_answers_what_has_begun(own_door: Door) -> None:
    """The process ends by itself; the stream is closed without an `end`, for its workflow goes on."""
    workflow = own_door.tell(event(1)).json["workflow"]
    events = stream(own_door, workflow)
    next(events)
    own_door.process.send_signal(signal.SIGTERM)
    assert list(events) == []
    eventually(lambda: own_door.process.poll() is not None, "the door to end")
    assert "Traceback" not in own_door.log


def test_times_are_redis_own(door: Door) -> None:
    """RFC 3339, in UTC."""
    before = datetime.now(UTC).replace(microsecond=0)
    made = door.get(door.tell(event(1)).headers["location"]).json["created"]
    assert before <= datetime.fromisoformat(made) <= datetime.now(UTC)
