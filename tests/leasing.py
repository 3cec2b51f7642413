"""Both transports by themselves, on a real Redis: what the tests of the leased one publish, take, lose and look at."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import kombu
from tests.support import ROOT, Server, eventually

LEASED, STOCK = "switchyard.broker.transport:Transport", "switchyard.broker.stock:Transport"
LEASE = 1
OPTIONS = {"lease": LEASE, "max_deliveries": 3, "priority_steps": [0], "visibility_timeout": 3600}
#: A consumer that takes as many messages as it is told, and is gone without a word.
LOST = """
import os, sys, json, kombu
url, transport, options, queues, count = json.loads(sys.argv[1])
connection, seen = kombu.Connection(url, transport=transport, transport_options=options), []
queues = [kombu.Queue(name, kombu.Exchange(*exchange) if exchange else None, routing_key=key) for name, exchange, key in queues]
with connection.Consumer(queues, callbacks=[lambda body, message: seen.append(message)], prefetch_count=count):
    while len(seen) < count:
        connection.drain_events(timeout=30)
    os._exit(0)
"""


@contextmanager
def connected(server: Server, transport: str | None = LEASED, **options: object) -> Iterator[kombu.Connection]:
    url = server.environment["CELERY_BROKER_URL"]
    with kombu.Connection(url, transport=transport, transport_options={**OPTIONS, **options}) as connection:
        yield connection


def publish(connection: kombu.Connection, queue: kombu.Queue | str, *bodies: object, **options: Any) -> None:
    queue = kombu.Queue(queue) if isinstance(queue, str) else queue
    where = {"exchange": queue.exchange or "", "routing_key": queue.routing_key or queue.name, "declare": [queue]}
    for body in bodies:
        connection.Producer().publish(body, **{**where, **options})


def lose(
    server: Server,
    queues: list[str] | list[tuple[Any, ...]],
    count: int,
    transport: str | None = LEASED,
    **options: Any,
) -> None:
    """Have a consumer of these queues take `count` messages and die with them."""
    tables = [queue if isinstance(queue, tuple) else (queue, None, queue) for queue in queues]
    arguments = [server.environment["CELERY_BROKER_URL"], transport, {**OPTIONS, **options}, tables, count]
    command = [sys.executable, "-c", LOST, json.dumps(arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT / "services")}, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()


@contextmanager
def consuming(
    connection: kombu.Connection, *queues: str, **options: Any
) -> Iterator[Callable[[int], list[tuple[Any, kombu.Message]]]]:
    """Waits for a number of messages; none is acknowledged but by the test. At the end they are dropped."""
    seen: list[tuple[Any, kombu.Message]] = []

    def take(count: int) -> list[tuple[Any, kombu.Message]]:
        def enough() -> bool:
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.1)
            return len(seen) >= count

        eventually(enough, f"{count} messages, beyond {len(seen)}")
        taken, seen[:] = seen[:count], seen[count:]
        return taken

    found = [kombu.Queue(queue) for queue in queues]
    with connection.Consumer(found, callbacks=[lambda body, message: seen.append((body, message))], **options):
        yield take
    seen.clear()


def bodies(server: Server, name: str) -> list[Any]:
    """What waits in a list, the next one first."""
    return [body_of(message) for message in reversed(server.client(0).lrange(name, 0, -1))]


def body_of(message: str) -> Any:
    return json.loads(base64.b64decode(json.loads(message)["body"]))


def counts(server: Server, name: str) -> list[int]:
    """How often each was lost."""
    return [json.loads(message).get("x-deliveries", 0) for message in reversed(server.client(0).lrange(name, 0, -1))]


def held(server: Server) -> int:
    return max(server.client(0).hlen("unacked"), server.client(0).zcard("unacked_index"))


def dead_letters(server: Server) -> list[dict[str, str]]:
    """What was set aside, oldest first."""
    client = server.client(0)
    return [client.hgetall(f"switchyard:dead_letter:{tag}") for tag in client.zrange("switchyard:dead_letters", 0, -1)]
