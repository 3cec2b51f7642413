"""What nothing takes raises where it is published, and what goes back goes back to where it lay: on a real Redis, with real workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kombu import Connection, Exchange, Message, Producer, Queue
from structlog.testing import CapturingLogger
from tests.support import Server

from switchyard.broker.events_queue import events_queue
from switchyard.errors import Unroutable

LEASED, STOCK = "switchyard.broker.transport:Transport", "switchyard.broker.stock:Transport"
UNROUTABLE = (
    "No queue is bound to the exchange 'events' for the routing key 'product.updated'; the message was not sent."
)
QUEUES = '[queues.default]\ntasks = ["*"]\npool = "{pool}"\nconcurrency = 2\ntime_limit = 30\n'


@contextmanager
def connected(server: Server, transport: str | None = LEASED, **options: object) -> Iterator[Connection]:
    url = server.environment["CELERY_BROKER_URL"]
    with Connection(url, transport=transport, transport_options=options) as connection:
        yield connection


@pytest.fixture(autouse=True)
def nothing_is_left(redis_server: Server) -> Iterator[None]:
    yield
    redis_server.client(0).flushall()


@pytest.fixture(params=[LEASED, STOCK], ids=["leased", "stock"])
def connection(redis_server: Server, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """By each of our transports."""
    with connected(redis_server, request.param) as opened:
        yield opened


def publish(producer: Producer, **options: object) -> None:
    options = {"exchange": "events", "routing_key": "product.updated", **options}
    producer.publish({"id": "1"}, **options)


@pytest.mark.parametrize("retry", [False, True])
def test_a_message_that_no_queue_takes_raises_and_says_what_to_do(connection, retry):
    """At once, and as itself, also where the publisher would have tried again."""
    with pytest.raises(Unroutable, match=UNROUTABLE) as raised:
        publish(connection.Producer(), retry=retry)
    assert "Declare the queue that is to take it" in str(raised.value)


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_another_routing_key_than_the_bound_one_is_no_match(connection, redis_server, kind):
    """The exchange exists and has a queue; that queue does not want this message."""
    orders = Queue("orders", Exchange("orders", type=kind), routing_key="order.made")
    producer = connection.Producer()
    publish(producer, exchange=orders.exchange, routing_key="order.made", declare=[orders])
    with pytest.raises(Unroutable, match=r"'orders' for the routing key 'order.lost'"):
        publish(producer, exchange=orders.exchange, routing_key="order.lost")
    assert redis_server.client(0).llen("orders") == 1


def test_an_exchange_that_is_only_named_raises_although_it_is_bound(connection, redis_server):
    """kombu takes an exchange that this process has not declared for a direct one, whose '#' matches nothing."""
    with connected(redis_server) as other:
        events_queue()(other.default_channel).declare()
    with pytest.raises(Unroutable):
        publish(connection.Producer())
    publish(connection.Producer(), exchange=events_queue().exchange, declare=[events_queue().exchange])
    assert redis_server.client(0).llen("events") == 1


def test_the_next_publish_after_a_flushall_raises_until_somebody_declares(connection, redis_server):
    """A publisher's own declaration is cached; anybody's declaration, its own included, puts the binding back."""
    producer, queue = connection.Producer(), events_queue()
    publish(producer, exchange=queue.exchange, declare=[queue])
    redis_server.client(0).flushall()
    with pytest.raises(Unroutable, match=UNROUTABLE):
        publish(producer, exchange=queue.exchange, declare=[queue])
    queue(connection.default_channel).declare()
    publish(producer, exchange=queue.exchange, declare=[queue])
    assert redis_server.client(0).llen("events") == 1


def test_kombus_own_transport_drops_what_ours_refuse(redis_server):
    """What this is for. When it fails, kombu has learned it."""
    queue = events_queue()
    with connected(redis_server, transport=None) as stock:
        producer = stock.Producer()
        publish(producer, exchange=queue.exchange, declare=[queue])
        redis_server.client(0).flushall()
        publish(producer, exchange=queue.exchange, declare=[queue])
        queue(stock.default_channel).declare()
    assert redis_server.client(0).keys() == []


def test_a_batch_raises_and_sends_nothing_of_itself(connection, redis_server):
    """Messages before the one that nothing takes are in the same batch: none is sent, so that all can be sent again."""
    producer, queue = connection.Producer(), events_queue()
    queue(connection.default_channel).declare()
    with pytest.raises(Unroutable, match="'nowhere'"), producer.batch(100):  # noqa: PT012  a batch is several
        publish(producer, exchange=queue.exchange, declare=[queue], retry=True)
        publish(producer, exchange="nowhere", retry=True)
    assert redis_server.client(0).llen("events") == 0
    with producer.batch(100):
        publish(producer, exchange=queue.exchange)
        publish(producer, exchange=queue.exchange)
    assert redis_server.client(0).llen("events") == 2


def test_a_broadcast_without_listeners_raises_nothing(connection):
    """Nobody need listen to a fanout exchange: task events, remote control."""
    publish(connection.Producer(), exchange=Exchange("news", type="fanout"), declare=[Exchange("news", type="fanout")])


def test_an_app_raises_for_a_task_that_is_sent_to_an_exchange_nothing_matches(deployment):
    """send_task(exchange=…) as a fork's publisher may call it, single and in a batch; tasks go to their queues as ever."""
    deployment.queues(QUEUES.format(pool="solo"))
    code = """
from switchyard.errors import Unroutable
from switchyard.producer import app
def refused(**options):
    try:
        app.send_task("collect", args=[[]], **options)
    except Unroutable as exc:
        print(exc)
lost = dict(exchange="nowhere", routing_key="some.key", queue=None)
refused(**lost)
with app.producer_pool.acquire() as producer:
    try:
        with producer.batch(10):
            app.send_task("collect", args=[[]], producer=producer, **lost)
    except Unroutable as exc:
        print(exc)
app.send_task("collect", args=[[]])
print(app.connection_for_write().transport.driver_type)
"""
    single, batch, kind = deployment.python(code).splitlines()
    assert single == batch
    assert "the exchange 'nowhere' for the routing key 'some.key'" in single
    assert kind == "redis"
    assert deployment.server.client(0).llen("default") == 1


@pytest.mark.parametrize(
    ("pool", "transport"), [("prefork", "leased"), ("gevent", "leased"), ("threads", "leased"), ("prefork", "stock")]
)
def test_a_worker_answers_and_outlives_whoever_does_not_wait(deployment, pool, transport):
    """ping and inspect are answered; a reply that nobody waits for any more is no error of the worker's."""
    deployment.environment["BROKER_TRANSPORT"] = transport
    deployment.queues(QUEUES.format(pool=pool) + "events = true\n")
    worker = deployment.start_worker()
    ask = "import json; from switchyard.producer import app; control = app.control"
    assert deployment.python(f"{ask}; print(len(control.ping(timeout=10, limit=1)))") == "1"
    inspected = deployment.python(f"{ask}; print(json.dumps(control.inspect(timeout=10, limit=1).active_queues()))")
    assert [queue["name"] for queues in json.loads(inspected).values() for queue in queues] == ["default"]

    # Asks, and is gone together with its reply queue before the worker, which sleeps, can answer.
    os.kill(worker.pid, signal.SIGSTOP)
    deployment.python(f"{ask}; print(control.ping(timeout=0.1))")
    deployment.server.client(0).delete("_kombu.binding.reply.celery.pidbox")
    os.kill(worker.pid, signal.SIGCONT)

    assert deployment.python(f"{ask}; print(len(control.ping(timeout=10, limit=1)))") == "1"
    assert worker.poll() is None
    log = deployment.log().read_text()
    assert "Traceback" not in log
    assert "No queue is bound" not in log


@pytest.mark.parametrize("transport", ["leased", "stock"])
def test_a_task_event_reaches_who_listens_to_events(deployment, transport):
    """Task events are broadcast under our transports as under kombu's own, so Flower sees them."""
    deployment.environment["BROKER_TRANSPORT"] = transport
    deployment.queues(QUEUES.format(pool="solo") + "events = true\n")
    deployment.start_worker()
    code = """
from switchyard.producer import app
found = []

def stop(event):
    found.append(event)
    receiver.should_stop = True

# At a heartbeat: what is sent before anybody listens, nobody hears of.
handlers = {"worker-heartbeat": lambda _: app.send_task("misbehave", args=[1]), "task-succeeded": stop}
with app.connection_for_read() as connection:
    receiver = app.events.Receiver(connection, handlers=handlers)
    receiver.capture(limit=None, timeout=30, wakeup=True)
print(len(found))
"""
    assert int(deployment.python(code)) >= 1


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_a_message_of_the_stock_transport_goes_back_to_its_queue_without_any_binding(redis_server, kind):
    """Rejected, or given back when its consumer ends, or after its time, by a process that never heard of its exchange."""
    client = redis_server.client(0)
    orders = Queue("orders", Exchange("orders", type=kind), routing_key="order.*" if kind == "topic" else "order.made")
    with connected(redis_server, STOCK, visibility_timeout=0, unacked_restore_throttle=1) as connection:
        producer = connection.Producer()
        for number in range(3):
            producer.publish(number, exchange=orders.exchange, routing_key="order.made", declare=[orders])
        seen: list[int] = []
        with connection.Consumer([orders], callbacks=[lambda body, message: seen.append((body, message))]):
            while len(seen) < 2:
                connection.drain_events(timeout=5)
            client.delete("_kombu.binding.orders")
            seen[0][1].requeue()
            assert client.hlen("unacked") == 1
            with connected(redis_server, STOCK, visibility_timeout=0, unacked_restore_throttle=1) as other:
                other.default_channel.qos.restore_visible(interval=1)
    assert client.hlen("unacked") == 0
    assert client.llen("orders") == 3
    assert b'"queue"' not in b"".join(part.encode() for part in client.lrange("orders", 0, -1))


@pytest.mark.parametrize("kind", ["direct", "topic"])
def test_a_leased_message_goes_back_to_its_queue_without_any_binding(redis_server, kind):
    """Requeued, or given back when its consumer ends, by a process that never heard of its exchange; in order."""
    client = redis_server.client(0)
    orders = Queue("orders", Exchange("orders", type=kind), routing_key="order.*" if kind == "topic" else "order.made")
    with connected(redis_server) as publisher:
        for number in range(3):
            publisher.Producer().publish(number, exchange=orders.exchange, routing_key="order.made", declare=[orders])
    as_published = client.lrange("orders", 0, -1)
    with connected(redis_server) as connection:
        seen: list[Message] = []
        with connection.Consumer([orders], callbacks=[lambda _, message: seen.append(message)]):
            while len(seen) < 3:
                connection.drain_events(timeout=5)
            client.delete("_kombu.binding.orders")
            assert client.hlen("unacked") == 3
            seen[0].requeue()
    assert client.hlen("unacked") == client.zcard("unacked_index") == 0
    last, *others = client.lrange("orders", 0, -1)
    assert others == as_published[:2]  # the next to be fetched is on the right
    assert last == as_published[2].replace("{", '{"x-deliveries": 1, ', 1)


def test_what_a_stock_worker_fetched_stays_until_its_exchange_is_bound(redis_server, monkeypatch):
    """Its record names an exchange only. While that matches nothing, the message stays, and the others still go back."""
    client, log = redis_server.client(0), CapturingLogger()
    monkeypatch.setattr("switchyard.broker.stock.log", log)
    orders = Queue("orders", Exchange("orders", type="direct"), routing_key="order.made")
    bills = Queue("bills", Exchange("bills", type="direct"), routing_key="bill")
    with connected(redis_server, transport=None) as stock:
        for queue in (orders, bills):
            stock.Producer().publish(1, exchange=queue.exchange, routing_key=queue.routing_key, declare=[queue])
            assert queue(stock.default_channel).get() is not None
        stock.default_channel.do_restore = False  # as if it had been killed
    client.delete("_kombu.binding.orders")
    with connected(redis_server, STOCK, visibility_timeout=0) as ours:
        ours.default_channel.qos.restore_visible(interval=1)
        assert (client.hlen("unacked"), client.llen("orders"), client.llen("bills")) == (1, 0, 1)
        assert [call.args for call in log.calls] == [("message_not_put_back",)]
        orders(ours.default_channel).declare()
        ours.default_channel.qos.restore_visible(interval=1)
        assert (client.hlen("unacked"), client.llen("orders")) == (0, 1)
