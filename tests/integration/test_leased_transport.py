"""The leased transport by itself, on a real Redis: what becomes of messages, key by key. Workers are in test_leases.py."""

from __future__ import annotations

import gc
import select
from collections.abc import Iterator

import kombu
import pytest
import redis
from redis.exceptions import RedisError
from tests.leasing import LEASE, bodies, body_of, connected, consuming, counts, dead_letters, held, lose, publish
from tests.support import Server, eventually


@pytest.fixture
def server(redis_server: Server) -> Iterator[Server]:
    yield redis_server
    redis_server.client(0).flushall()


# --- Lost


def test_what_was_lost_goes_back_counted_and_what_is_lost_too_often_is_set_aside(server: Server) -> None:
    """As it was published but for the count, in order; with the reason, and without another way back."""
    with connected(server) as connection, consuming(connection, "elsewhere"):
        publish(connection, "orders", 1, 2, 3)
        as_published = server.client(0).lrange("orders", 0, -1)
        lose(server, ["orders"], 2)
        eventually(lambda: held(server) == 0, "two to go back")
        assert (bodies(server, "orders"), counts(server, "orders")) == ([1, 2, 3], [1, 1, 0])
        for _ in range(2):  # lost twice, it may be what kills its consumers: from now on, one such at a time
            lose(server, ["orders"], 1)
            eventually(lambda: held(server) == 0, "one to go back")
        assert (bodies(server, "orders"), counts(server, "orders")) == ([2, 3], [1, 0])
    (letter,) = dead_letters(server)
    assert letter["queue"] == "orders"
    assert letter["reason"] == "its worker was lost 3 times"
    assert body_of(letter["message"]) == 1
    assert letter["message"].replace('"x-deliveries": 2, ', "") == as_published[2]
    assert letter["deliveries"] == "2"
    (score,) = [score for _, score in server.client(0).zrange("switchyard:dead_letters", 0, -1, withscores=True)]
    assert float(letter["at"]) == pytest.approx(score, abs=0.01)


def test_a_message_that_was_lost_says_so_to_who_gets_it_next(server: Server) -> None:
    """Celery shows it as `delivery_info["redelivered"]`; a new one says nothing."""
    with connected(server) as connection, consuming(connection, "elsewhere"):
        publish(connection, "orders", 1)
        lose(server, ["orders"], 1)
        eventually(lambda: held(server) == 0, "it to go back")
        publish(connection, "orders", 2)
    with connected(server) as connection, consuming(connection, "orders") as take:
        taken = take(2)
        assert [(body, message.delivery_info.get("redelivered", False)) for body, message in taken] == [
            (1, True),
            (2, False),
        ]
        for _, message in taken:
            message.ack()
    assert held(server) == 0


@pytest.mark.parametrize("name", ["orders:by.mail", "with space", 'with "quotes"', "back\\slash", "Größe"])
def test_a_queue_of_any_name_gets_back_what_was_lost(server: Server, name: str) -> None:
    """In kombu, a name is any text."""
    with connected(server) as connection, consuming(connection, "elsewhere"):
        publish(connection, name, 1)
        lose(server, [name], 1)
        eventually(lambda: held(server) == 0, "it to go back")
    assert dead_letters(server) == []
    assert bodies(server, name) == [1]


def test_a_message_with_a_priority_goes_back_to_its_own_list(server: Server) -> None:
    """Lost, requeued, or given back at the end: with the steps that kombu has by default."""
    steps = {"priority_steps": [0, 3, 6, 9]}
    lists = {0: "orders", 3: "orders\x06\x163", 6: "orders\x06\x166", 9: "orders\x06\x169"}
    with connected(server, **steps) as connection, consuming(connection, "elsewhere"):
        for priority in (0, 3, 5, 6, 9):
            publish(connection, "orders", priority, priority=priority)
        before = {name: bodies(server, name) for name in lists.values()}
        assert sorted(map(len, before.values())) == [1, 1, 1, 2]
        lose(server, ["orders"], 5, **steps)
        eventually(lambda: held(server) == 0, "all to go back")
        assert {name: bodies(server, name) for name in lists.values()} == before
        assert {count for name in lists.values() for count in counts(server, name)} == {1}
    with connected(server, **steps) as connection, consuming(connection, "orders") as take:
        for _, message in take(5):
            message.requeue()
        eventually(lambda: connection.default_channel.turn() and held(server) == 0, "all to go back")
        connection.default_channel.basic_qos(0, 1, False)


# --- Set aside

UNREADABLE = [b"no json", b"", b"[1, 2]", b'"text"', b'{"half": ', b"{}", b'{"body": "x"}', b"\xff\xfe\x00"]  # fmt: skip


def test_what_is_no_message_is_set_aside_and_the_good_ones_beside_it_run(server: Server) -> None:
    """Anybody may push anything; each is kept as it was, with a reason."""
    client = server.client(0)
    with connected(server) as connection:
        publish(connection, "orders", 0)
        for number, bad in enumerate(UNREADABLE, start=1):
            client.lpush("orders", bad)
            publish(connection, "orders", number)
        with consuming(connection, "orders") as take:
            taken = take(len(UNREADABLE) + 1)
            assert [body for body, _ in taken] == list(range(len(UNREADABLE) + 1))
            for _, message in taken:
                message.ack()
            eventually(lambda: client.zcard("switchyard:dead_letters") == len(UNREADABLE), "all to be set aside")
            eventually(lambda: held(server) == 0, "nothing to be held")
    raw = redis.Redis(port=server.port)
    letters = [raw.hgetall(b"switchyard:dead_letter:" + tag) for tag in raw.zrange("switchyard:dead_letters", 0, -1)]
    assert sorted(letter[b"message"] for letter in letters) == sorted(UNREADABLE)
    assert all(letter[b"reason"] for letter in letters)
    assert {letter[b"queue"] for letter in letters} == {b"orders"}


def test_a_message_that_is_rejected_is_set_aside_and_one_that_is_requeued_is_last(server: Server) -> None:
    """Requeued, it counts as lost: its consumer could not do it."""
    with connected(server) as connection:
        publish(connection, "orders", 1, 2, 3)
        with consuming(connection, "orders", prefetch_count=2) as take:
            (_, first), (_, second) = take(2)
            first.reject()
            second.requeue()
            (third, message), (again, last) = take(2)
            assert (third, again) == (3, 2)
            message.ack()
            last.ack()
    assert held(server) == 0
    (letter,) = dead_letters(server)
    assert (letter["queue"], letter["reason"], letter["deliveries"]) == ("orders", "rejected", "0")


# --- Consuming


def test_two_queues_of_one_consumer_are_both_consumed(server: Server) -> None:
    """Each message says which queue it is of, whoever filled which."""
    with connected(server) as connection:
        publish(connection, "orders", *range(100))
        publish(connection, "bills", *range(100, 200))
        with consuming(connection, "orders", "bills") as take:
            taken = take(200)
            assert sorted(body for body, _ in taken) == list(range(200))
            for body, message in taken:
                assert message.delivery_info["routing_key"] == ("orders" if body < 100 else "bills")
                message.ack()
    assert held(server) == 0


def test_who_waits_for_so_many_answers_gets_one_at_a_time(server: Server) -> None:
    """As from kombu: `control.ping(limit=3)` waits three times, and would wait in vain for what came together."""
    taken: list[object] = []
    with connected(server) as connection:
        publish(connection, "answers", 1, 2, 3)
        consumer = kombu.Consumer(
            connection, [kombu.Queue("answers")], no_ack=True, callbacks=[lambda body, _: taken.append(body)]
        )
        with consumer:
            for number in range(1, 4):
                connection.drain_events(timeout=10)
                assert len(taken) == number
    assert taken == [1, 2, 3]
    assert held(server) == 0


def test_no_key_is_without_the_prefix(server: Server) -> None:
    """Also of what was lost, set aside and swept."""
    prefix = {"global_keyprefix": "fork:"}
    with connected(server, **prefix) as connection:
        publish(connection, "orders", 1, 2, 3)
        lose(server, ["orders"], 1, **prefix)
        with consuming(connection, "bills"):
            eventually(lambda: server.client(0).hlen("fork:unacked") == 0, "it to go back")
        with consuming(connection, "orders") as take:
            (_, first), (_, second), (_, third) = take(3)
            first.ack()
            second.reject()
            third.requeue()
            take(1)[0][1].requeue()
    keys = server.client(0).keys()
    assert [key for key in keys if not key.startswith("fork:")] == []
    assert {"fork:orders", "fork:switchyard:dead_letters", "fork:switchyard:lease_clock"} <= set(keys)


def test_a_consumer_goes_on_after_its_scripts_were_flushed(server: Server) -> None:
    """What it had is settled in every way, what comes is fetched, and what others lose is put back."""
    with connected(server) as connection, consuming(connection, "orders") as take:
        publish(connection, "orders", 1, 2, 3)
        first, second, third = (message for _, message in take(3))
        server.client(0).script_flush()
        publish(connection, "orders", 4)
        first.ack()
        second.reject()
        third.requeue()
        taken = take(2)
        assert sorted(body for body, _ in taken) == [3, 4]
        for _, message in taken:
            message.ack()
        publish(connection, "bills", 5)
        lose(server, ["bills"], 1)
        server.client(0).script_flush()
        eventually(lambda: bodies(server, "bills") == [5], "what another lost to go back")
    assert held(server) == 0


def test_a_lease_does_not_lapse_at_the_servers_memory_limit(server: Server) -> None:
    """New messages are refused at their publisher; what is held stays held for as long as it takes, and can be acknowledged."""
    client = server.client(0)
    with connected(server) as connection, connected(server) as other:
        publish(connection, "orders", 1)
        with consuming(connection, "orders") as take, consuming(other, "elsewhere"):
            ((_, message),) = take(1)
            client.config_set("maxmemory", 1)
            try:
                with pytest.raises((RedisError, *connection.connection_errors, *connection.channel_errors)):
                    publish(connection, "orders", 2)
                end = client.time()[0] + 3 * LEASE + 1
                eventually(lambda: client.time()[0] > end, "three leases to pass")
                assert (client.hlen("unacked"), client.llen("orders")) == (1, 0)
                message.ack()
                eventually(lambda: connection.default_channel.turn() and held(server) == 0, "it to be acknowledged")
            finally:
                client.config_set("maxmemory", 0)


def test_what_a_reconnecting_worker_has_dropped_goes_back_also_if_it_is_part_of_a_cycle(server: Server) -> None:
    """A request of Celery's and its timer refer to each other, and an idle worker collects no garbage by itself."""
    with connected(server) as connection, consuming(connection, "orders") as take:
        publish(connection, "orders", 1)
        ((_, message),) = take(1)
        gc.disable()
        try:
            with connected(server) as again, consuming(again, "orders") as take_again:
                cycle = [message]
                cycle.append(cycle)
                del message, cycle
                ((body, second),) = take_again(1)
                assert (body, held(server)) == (1, 1)
                second.ack()
        finally:
            gc.enable()
    assert held(server) == 0


def test_who_consumes_beside_somebody_else_in_its_process_takes_nobodys_bell_away(server: Server) -> None:
    """As a task that asks workers something: what its worker has to settle rings there as before, also once it has its answer."""

    def rings(connection: kombu.Connection) -> bool:
        (bell,) = (each.bell for each in connection.transport.cycle._channels if each.active_queues)
        rung = bool(select.select([bell.fd], [], [], 0)[0])
        bell.heard()
        return rung

    with connected(server) as connection, consuming(connection, "orders") as take:
        publish(connection, "orders", 1, 2)
        (_, first), (_, second) = take(2)
        with connected(server) as beside, consuming(beside, "answers") as answers:
            publish(beside, "answers", 3)
            ((_, answer),) = answers(1)
            rings(connection)
            first.ack()
            assert rings(connection)
            answer.ack()
        rings(connection)
        second.ack()
        assert rings(connection)
    assert held(server) == 0


def test_what_a_consumer_holds_leaves_another_of_its_process_its_own_room(server: Server) -> None:
    """As a task that consumes one message at a time, and is held itself meanwhile by its worker."""
    with connected(server) as connection, consuming(connection, "orders", prefetch_count=2) as take:
        publish(connection, "orders", 1, 2, 3)
        held_here = take(2)
        with connected(server) as beside, consuming(beside, "parts", prefetch_count=1) as parts:
            publish(beside, "parts", 4)
            assert [body for body, _ in parts(1)] == [4]
        assert bodies(server, "orders") == [3]
        for _, message in held_here:
            message.ack()
