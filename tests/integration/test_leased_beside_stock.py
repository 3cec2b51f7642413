"""Leased and stock publishers and workers at one broker, with messages in flight both ways: one setting goes back."""

from __future__ import annotations

from collections.abc import Iterator

import kombu
import pytest
from tests.leasing import OPTIONS, STOCK, bodies, connected, consuming, counts, held, lose, publish
from tests.support import Server, eventually


@pytest.fixture
def server(redis_server: Server) -> Iterator[Server]:
    yield redis_server
    redis_server.client(0).flushall()


@pytest.mark.parametrize("stock", [None, STOCK], ids=["kombu", "stock"])
def test_stock_and_leased_publishers_and_consumers_understand_each_other(server: Server, stock: str | None) -> None:
    """Both ways, counted messages included."""
    orders = kombu.Queue("orders", kombu.Exchange("orders", "direct"), routing_key="order.made")
    with connected(server, stock) as publisher:
        publish(publisher, orders, 1)
    lose(server, [("orders", ("orders", "direct"), "order.made")], 1)
    with connected(server) as leased, consuming(leased, "elsewhere"):
        eventually(lambda: held(server) == 0, "it to go back")
        publish(leased, orders, 2)
    assert counts(server, "orders") == [1, 0]
    with connected(server, stock) as connection, consuming(connection, "orders") as take:
        taken = take(2)
        assert [body for body, _ in taken] == [1, 2]
        for _, message in taken:
            message.ack()
    assert (held(server), bodies(server, "orders")) == (0, [])


@pytest.mark.parametrize("stock", [None, STOCK], ids=["kombu", "stock"])
def test_what_a_stock_worker_left_is_put_back_after_its_visibility_timeout(server: Server, stock: str | None) -> None:
    """By its exchange, which is all that kombu notes; not sooner, for it may be at work."""
    client, orders = server.client(0), ("orders", ("orders", "direct"), "order.made")
    queue = kombu.Queue("orders", kombu.Exchange("orders", "direct"), routing_key="order.made")
    with connected(server, stock) as publisher:
        publish(publisher, queue, 1)
    lose(server, [orders], 1, stock)
    (tag,) = client.hkeys("unacked")
    with connected(server) as leased, consuming(leased, "elsewhere"):
        publish(leased, "bills", 2)
        lose(server, ["bills"], 1)
        eventually(lambda: bodies(server, "bills") == [2], "a leased one to go back")
        assert client.hkeys("unacked") == client.zrange("unacked_index", 0, -1) == [tag]
        client.zadd("unacked_index", {tag: client.time()[0] - OPTIONS["visibility_timeout"] - 1})
        eventually(lambda: held(server) == 0, "the stock one to go back")
    assert (bodies(server, "orders"), counts(server, "orders")) == ([1], [1])


@pytest.mark.parametrize("stock", [None, STOCK], ids=["kombu", "stock"])
def test_what_a_leased_worker_left_is_put_back_by_a_stock_one(server: Server, stock: str | None) -> None:
    """After a lease, by kombu's own rule: the score says that it was fetched a visibility timeout before its lease ends."""
    with connected(server) as publisher:
        publish(publisher, "orders", 1)
    lose(server, ["orders"], 1)
    with connected(server, stock, unacked_restore_throttle=1) as connection:

        def restored() -> bool:
            connection.default_channel.qos.restore_visible(interval=1)
            return held(server) == 0

        eventually(restored, "it to go back")
    assert bodies(server, "orders") == [1]
