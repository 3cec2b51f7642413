"""Events that an application's own code publishes, and refused ones that are sent again, on a real Redis."""

from __future__ import annotations

import base64
import json

from tests.support import Deployment

PRELUDE = """
import redis, time
from switchyard.errors import EventRefused, Unavailable
from switchyard.events.publishing import publish, resend
from switchyard.producer import app
def event(number, **more):
    return {"specversion": "1.0", "id": str(number), "source": "/tests", "type": "product.updated", **more}
"""


def told(deployment: Deployment) -> list[dict]:
    """The messages in the list `events`, oldest first, each with its body opened."""
    found = [json.loads(message) for message in deployment.server.client(0).lrange("events", 0, -1)][::-1]
    return [{**message, "body": base64.b64decode(message["body"])} for message in found]


def test_each_event_arrives_also_right_after_a_flushall(deployment):
    """In one process with one connection, which has declared the queue before."""
    deployment.queues("")
    deployment.python(
        PRELUDE
        + """
publish(app, event(1))
redis.Redis.from_url(app.conf.broker_url).flushall()
publish(app, event(2, data={"name": "Käse"}))
"""
    )
    [message] = told(deployment)
    assert json.loads(message["body"]) == {
        "specversion": "1.0", "id": "2", "source": "/tests", "type": "product.updated", "data": {"name": "Käse"},
    }  # fmt: skip
    properties = message["properties"]
    assert (message["content-type"], properties["delivery_mode"]) == ("application/cloudevents+json", 2)
    assert properties["delivery_info"] == {"exchange": "events", "routing_key": "product.updated"}


def test_what_is_no_event_is_refused_in_the_publisher(deployment):
    """A sentence where the mistake is, and nothing in the broker."""
    deployment.queues("")
    said = deployment.python(
        PRELUDE
        + """
for wrong in ({**event(1), "id": ""}, event(1, data={1, 2}), event(1, data="\\ud800"), event(1, data=float("nan"))):
    try:
        publish(app, wrong)
    except EventRefused as exc:
        print(exc)
"""
    ).splitlines()
    assert [line.split(":")[0] for line in said[:3]] == ["id", "The event is no JSON", "The event is no JSON"]
    assert said[3].startswith("NaN is no JSON")
    assert told(deployment) == []


def test_a_broker_that_is_away_is_an_error_within_seconds(own_deployment):
    """For events as for what is sent again; each can be repeated, and arrives once Redis is back."""
    own_deployment.queues("")
    own_deployment.server.kill()
    said = own_deployment.python(
        PRELUDE
        + """
began = time.monotonic()
for attempt in (lambda: publish(app, event(1)), lambda: resend(b"{}")):
    try:
        attempt()
    except Unavailable as exc:
        print(exc)
print(time.monotonic() - began)
"""
    ).splitlines()
    assert all("The broker does not take the event" in line for line in said[:2])
    assert float(said[2]) < 30
    own_deployment.server.start()
    own_deployment.python(PRELUDE + "publish(app, event(1))")
    assert len(told(own_deployment)) == 1


def test_what_was_refused_is_sent_again_byte_by_byte(deployment):
    """Whatever it is; it needs no binding, for it goes to the queue itself."""
    deployment.queues("")
    deployment.python(PRELUDE + r'resend(b"\xff no event"); resend(b"{}")')
    assert [message["body"] for message in told(deployment)] == [b"\xff no event", b"{}"]
    assert not deployment.server.client(0).exists("_kombu.binding.events")
