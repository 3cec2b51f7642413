"""Events from the broker and from the outbox: a real consumer, a real worker, stock publishers, and everything that can go wrong."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from tests.support import Deployment, alive, eventually

from switchyard.broker.events_queue import PRIORITY_LISTS, events_queue
from switchyard.events.acceptance import workflow_id_of
from switchyard.events.event import Event
from switchyard.health import is_beating

QUEUES = """
[queues.default]
tasks = ["*"]
imports = ["project.tasks"]
pool = "threads"
concurrency = 8
time_limit = 5
drain = 1

[queues.small]
tasks = ["spread"]
imports = ["project.tasks"]
max_waiting = 2
"""
EVENTS = """
[events."thing.happened"]
workflow = "misbehave"
parameters = { item = "item" }

[events."things.happened"]
workflow = "spread"
parameters = { items = "items" }

[events."thing.sold"]
workflow = "misbehave"
parameters = { item = "item" }
when = { country = "DE" }
"""


def event(number: object, **changes: Any) -> dict[str, Any]:
    given = {
        "specversion": "1.0",
        "id": str(number),
        "source": "/tests",
        "type": "thing.happened",
        "data": {"item": number},
    }
    return {**given, **changes}


def id_of(sent: dict[str, Any]) -> str:
    return workflow_id_of(Event.model_validate(sent))


@pytest.fixture
def shop(deployment: Deployment) -> Deployment:
    """The tests' project with its events; nothing runs yet."""
    deployment.queues(QUEUES)
    deployment.events(EVENTS)
    return deployment


@pytest.fixture
def broker(shop: Deployment) -> Iterator[kombu.Connection]:
    """A stock kombu connection, as any application has one."""
    with kombu.Connection(shop.environment["CELERY_BROKER_URL"]) as connection:
        yield connection


def publish(broker: kombu.Connection, *bodies: Any, **options: Any) -> None:
    """By the exchange, as JSON, unless told otherwise."""
    given = {
        "exchange": events_queue().exchange,
        "routing_key": "thing.happened",
        "declare": [events_queue()],
        **options,
    }
    with broker.Producer() as producer:
        for body in bodies:
            producer.publish(body, **given)


def state(shop: Deployment, sent: dict[str, Any]) -> str | None:
    return shop.server.client().hget(f"switchyard:workflow:{id_of(sent)}", "state")


def waits(shop: Deployment) -> int:
    client = shop.server.client(0)
    return sum(client.llen(name) for name in PRIORITY_LISTS)


def kept(shop: Deployment) -> list[tuple[bytes, str]]:
    entries = [json.loads(entry) for entry in shop.server.client().lrange("switchyard:refused", 0, -1)]
    return [(base64.b64decode(entry["body"]), entry["reason"]) for entry in entries]


def test_an_event_from_the_broker_starts_its_workflow(shop: Deployment, broker: kombu.Connection) -> None:
    """A single task is a workflow too: its result is in the record, and the ids are on the worker's lines."""
    shop.start("consumer")
    shop.start_worker()
    sent = event(7)
    publish(broker, sent)
    eventually(lambda: state(shop, sent) == "done", "the workflow to end")
    fields = shop.server.client().hgetall(f"switchyard:workflow:{id_of(sent)}")
    assert (fields["result"], fields["event_id"], fields["event_source"]) == ("7", "7", "/tests")
    eventually(lambda: waits(shop) == 0, "its message to be removed")
    line = next(line for line in shop.log("consumer").read_text().splitlines() if '"event_accepted"' in line)
    assert json.loads(line)["event_id"] == "7"


def test_every_way_to_publish_arrives(shop: Deployment, broker: kombu.Connection) -> None:
    """By exchange or by queue, with a priority, as bytes, in a batch, with a content type of its own."""
    shop.start("consumer")
    sent = [event(number) for number in range(7)]
    publish(broker, sent[0])
    publish(broker, sent[1], exchange="", routing_key="events", declare=[])
    publish(broker, sent[2], priority=5)
    publish(broker, json.dumps(sent[3]).encode(), content_type="application/cloudevents+json", content_encoding="utf-8")
    publish(broker, json.dumps(sent[4]).encode(), content_type="application/octet-stream", content_encoding="binary")
    publish(broker, sent[5:])
    for one in sent:
        eventually(lambda one=one: state(shop, one) is not None, f"{one} to be accepted")
    eventually(lambda: waits(shop) == 0, "the queue to be empty")
    assert kept(shop) == []


def test_an_event_that_comes_again_starts_nothing_again(shop: Deployment, broker: kombu.Connection) -> None:
    """Also while its first workflow runs, and after it has ended."""
    shop.start("consumer")
    shop.start_worker()
    publish(broker, event(1), event(1))
    eventually(lambda: state(shop, event(1)) == "done", "the workflow to end")
    publish(broker, event(1), event(2))
    eventually(lambda: state(shop, event(2)) == "done", "what came after it to end")
    assert (shop.folder / "begun").read_text().splitlines() == ["1", "2"]
    eventually(lambda: waits(shop) == 0, "their messages to be removed")
    assert shop.log("consumer").read_text().count('"event_repeated"') == 2


def test_what_cannot_be_taken_is_kept_with_its_reason_and_holds_nothing_up(
    shop: Deployment, broker: kombu.Connection
) -> None:
    """As it came, byte for byte."""
    shop.start("consumer")
    publish(broker, b"\xff\xfe", content_type="application/data", content_encoding="binary")
    publish(broker, event(1, type="thing.unheard"))
    publish(broker, event(2, data={}))
    publish(broker, [[], {}, {"callbacks": None}], headers={"task": "misbehave", "id": "x"})
    shop.server.client(0).lpush("events", "no envelope")
    publish(broker, event(3), event(3, data={"item": 4}))
    publish(broker, event(5))
    eventually(lambda: state(shop, event(5)), "the last one to be accepted")
    eventually(lambda: waits(shop) == 0, "the queue to be empty")
    bodies = {reason.split(":")[0].split(";")[0]: body for body, reason in kept(shop)}
    assert bodies.keys() == {
        "The body is not UTF-8",
        "type",
        "data.item is missing",
        "[0] An event is a JSON object with specversion, id, source and type, got [].",
        "The message has no envelope of kombu's, or one that cannot be opened.",
        "id",
    }
    assert len(kept(shop)) == len(bodies)
    assert bodies["The body is not UTF-8"] == b"\xff\xfe"
    assert json.loads(bodies["type"])["type"] == "thing.unheard"


def test_an_event_that_no_filter_fits_is_done_with(shop: Deployment, broker: kombu.Connection) -> None:
    """It is what the filter is for: nothing is kept and nothing started."""
    shop.start("consumer")
    wanted, other = (event(n, type="thing.sold", data={"item": n, "country": c}) for n, c in ((1, "DE"), (2, "FR")))
    publish(broker, other, wanted)
    eventually(lambda: state(shop, wanted), "the wanted one to be accepted")
    eventually(lambda: waits(shop) == 0, "the queue to be empty")
    assert (state(shop, other), kept(shop)) == (None, [])


def test_the_binding_is_back_after_a_flushall(shop: Deployment, broker: kombu.Connection) -> None:
    """So that what is published next is not dropped, even by a publisher that declared long ago."""
    shop.start("consumer")
    publish(broker, event(1))
    eventually(lambda: state(shop, event(1)), "the first to be accepted")
    shop.server.client().flushall()
    eventually(lambda: shop.server.client(0).scard("_kombu.binding.events"), "the binding to be back")
    publish(broker, event(2), declare=[])
    eventually(lambda: state(shop, event(2)), "the second to be accepted")


def test_killed_again_and_again_it_loses_nothing_and_starts_nothing_twice(
    shop: Deployment, broker: kombu.Connection
) -> None:
    """With kill -9, while events come."""
    shop.start_worker()
    sent = [event(number) for number in range(300)]
    for page in range(0, 300, 60):
        consumer = shop.start("consumer")
        publish(broker, *sent[page : page + 60])
        eventually(lambda page=page: state(shop, sent[page]), "some to be accepted")
        os.killpg(consumer.pid, signal.SIGKILL)
        consumer.wait()
    shop.start("consumer")
    for one in sent:
        eventually(lambda one=one: state(shop, one) == "done", f"the workflow of {one['id']} to end")
    eventually(lambda: waits(shop) == shop.server.client().zcard("switchyard:outbox") == 0, "nothing to be left")
    assert kept(shop) == []
    begun = (shop.folder / "begun").read_text().splitlines()
    # A workflow that was published twice runs under one id; that its task may begin twice is delivery, at least once.
    assert set(begun) == {str(number) for number in range(300)}
    assert shop.server.client().zcard("switchyard:workflows:all") == 300


def test_events_for_a_full_queue_wait_in_the_broker_and_hold_up_no_others(
    shop: Deployment, broker: kombu.Connection
) -> None:
    """They are taken in when there is room."""
    shop.start("consumer")
    many = [event(n, type="things.happened", data={"items": [n]}) for n in range(1, 6)]
    publish(broker, *many[:2])
    eventually(lambda: shop.server.client(0).llen("small") == 2, "the queue to be at its bound")
    publish(broker, *many[2:])
    publish(broker, event("other"))
    eventually(lambda: state(shop, event("other")), "the other queue's to be accepted")
    eventually(lambda: waits(shop) == 3, "the other one to be taken, and these to stay")
    shop.start_worker("small")
    shop.start_worker()
    for one in many:
        eventually(lambda one=one: state(shop, one) == "done", f"the workflow of {one['id']} to end")
    eventually(lambda: waits(shop) == 0, "their messages to be removed")


def test_a_bound_counts_what_the_starter_has_yet_to_publish(shop: Deployment) -> None:
    """Else what comes while it is away would all be taken in."""
    code = (
        "import json\nfrom switchyard.errors import Unavailable\nfrom switchyard.events import acceptance, event\n"
        "for number in range(3):\n"
        "    sent = {'specversion': '1.0', 'id': str(number), 'source': '/t', 'type': 'things.happened', 'data': {'items': []}}\n"
        "    try:\n        print(acceptance.accept([event.parse(json.dumps(sent).encode())], door='http')[0].state)\n"
        "    except Unavailable as exc:\n        print(exc)\n"
    )
    *taken, refused = [line for line in shop.python(code).splitlines() if "[info" not in line]
    assert taken == ["accepted", "accepted"]
    assert refused == "2 messages wait in small, whose bound is 2; it takes no more events now."


def test_what_was_accepted_while_it_was_away_is_started_when_it_is_back(shop: Deployment) -> None:
    """A door may accept whenever Redis answers."""
    sent = event(1)
    shop.python(
        "import json, sys; from switchyard.events import acceptance, event;"
        f"acceptance.accept([event.parse({json.dumps(sent).encode()!r})], door='http')"
    )
    assert state(shop, sent) == "waiting"
    assert shop.server.client(0).llen("default") == 0
    shop.start("consumer")
    shop.start_worker()
    eventually(lambda: state(shop, sent) == "done", "the workflow to end")


def test_a_workflow_whose_task_nobody_has_says_so(shop: Deployment, broker: kombu.Connection) -> None:
    """A typing error in events.toml that nobody has rendered."""
    shop.events('[events."thing.happened"]\nworkflow = "mistyped"\n')
    shop.start("consumer")
    shop.start_worker()
    publish(broker, event(1))
    eventually(lambda: state(shop, event(1)) == "failed", "the workflow to end")
    assert "no worker knows the task 'mistyped'" in shop.server.client().hget(
        f"switchyard:workflow:{id_of(event(1))}", "reason"
    )


def test_redis_away_is_waited_for_and_meanwhile_it_is_not_ready(own_deployment: Deployment) -> None:
    """Its sign of life stops; what was published before is taken in afterwards."""
    shop = own_deployment
    shop.queues(QUEUES)
    shop.events(EVENTS)
    consumer = shop.start("consumer")
    shop.start_worker()
    shop.server.kill()
    eventually(lambda: '"redis_awaited"' in shop.log("consumer").read_text(), "it to notice")
    beating = shop.folder / "state"
    eventually(lambda: not is_beating(beating, "consumer", consumer.pid, within_s=2), "its sign of life to stop")
    shop.server.start()
    with kombu.Connection(shop.environment["CELERY_BROKER_URL"]) as broker:
        publish(broker, event(1))
    eventually(lambda: state(shop, event(1)) == "done", "the workflow to end")
    eventually(lambda: is_beating(beating, "consumer", consumer.pid), "its sign of life to be back")
    assert alive(consumer.pid)


def test_it_ends_promptly_and_cleanly_when_told_to(shop: Deployment) -> None:
    """As every supervised program."""
    consumer = shop.start("consumer")
    consumer.terminate()
    assert consumer.wait(timeout=30) == 0
    assert "Traceback" not in shop.log("consumer").read_text()
