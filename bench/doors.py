"""How many events the doors take, and how long each takes, beside a bare FastAPI route that only pushes into a list.

    make bench B=doors [ARGS="--events 3000 --rounds 5"]

Runs a Redis, both servers and the consumer of its own; needs no deployment. The HTTP door and the bare route take turns, so
that a machine whose speed drifts drifts for both. The consumer runs all the while and publishes what is accepted, as it does
in a deployment; no worker does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import signal
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self

import kombu
from bench.workers import Bench, bench, free_port, wait_until
from rich.console import Console
from rich.table import Table

from switchyard.broker.events_queue import events_queue
from switchyard.errors import SwitchyardError

QUEUES = '[queues.default]\ntasks = ["*"]\nmax_waiting = 1000000000\n'
EVENTS = '[events."product.updated"]\nworkflow = "update_product_details"\nparameters = { product_id = "product_id" }\n'
TOKEN = "bench"  # noqa: S105  of a server that lives for this minute only
#: Requests under way at the same time.
AT_ONCE = 32

out = Console(highlight=False)
numbers = itertools.count(1)


def event() -> dict[str, Any]:
    """One that nobody has sent yet, as an application would make it."""
    number = next(numbers)
    return {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/bench", "type": "product.updated",
            "time": "2026-01-31T02:00:00Z", "data": {"product_id": number}}  # fmt: skip


def request(port: int, body: bytes, media_type: str) -> bytes:
    """The bytes of a POST to /v1/events."""
    lines = ["POST /v1/events HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {TOKEN}",
             f"Content-Type: {media_type}", f"Content-Length: {len(body)}", "", ""]  # fmt: skip
    return "\r\n".join(lines).encode() + body


class Caller:
    """One kept-alive connection, and the least that HTTP needs: the client must not be what is measured."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def post(self, sent: bytes) -> float:
        """Seconds until the answer is there. Raises SwitchyardError if it is not 202."""
        began = time.perf_counter()
        self.writer.write(sent)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        body = await self.reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 202"):
            raise SwitchyardError(f"The server answered {head.splitlines()[0].decode()}: {body.decode()[:500]}")
        return time.perf_counter() - began


def over_http(port: int, events: int, batch: int = 1) -> tuple[float, list[float]]:
    """Events a second with `AT_ONCE` requests under way, and the seconds of each request."""
    media_type = "application/cloudevents-batch+json" if batch > 1 else "application/cloudevents+json"
    bodies = [
        json.dumps([event() for _ in range(batch)] if batch > 1 else event()).encode() for _ in range(events // batch)
    ]
    requests = iter([request(port, body, media_type) for body in bodies])
    seconds: list[float] = []

    async def call(requests: Iterator[bytes]) -> None:
        async with Caller(port) as caller:
            seconds.extend([await caller.post(sent) for sent in requests])

    async def all_of_them() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(call(requests) for _ in range(AT_ONCE)))
        return time.perf_counter() - began

    return len(bodies) * batch / run(all_of_them), seconds


def run(main: Callable[[], Coroutine[Any, Any, float]]) -> float:
    """By uvloop where there is one: the client must not be what is measured."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    return uvloop.run(main())


def by_broker(made: Bench, consumer: int, events: int) -> tuple[float, list[float]]:
    """Events a second that the consumer takes in of those that wait, and the seconds of single ones, publishing included.

    They wait before it may begin: a stock publisher, one message at a time, is slower than the door.
    """
    client, queue = made.client(1), events_queue()
    with kombu.Connection(made.environment["CELERY_BROKER_URL"]) as connection, connection.Producer() as producer:

        def publish() -> None:
            body = event()
            producer.publish(body, exchange=queue.exchange, routing_key=body["type"], declare=[queue])

        def accepted() -> int:
            return int(client.zcard("switchyard:workflows:all"))

        os.kill(consumer, signal.SIGSTOP)
        for _ in range(events):
            publish()
        before, began = accepted(), time.perf_counter()
        os.kill(consumer, signal.SIGCONT)
        wait_until(lambda: accepted() == before + events, "the events to be accepted")
        rate = events / (time.perf_counter() - began)
        seconds = []
        for _ in range(max(100, events // 10)):
            before, began = accepted(), time.perf_counter()
            publish()
            while accepted() == before:
                time.sleep(0.0002)
            seconds.append(time.perf_counter() - began)
    return rate, seconds


#: What nobody should send.
HOSTILE = {
    "10 MB": b"[" + b" " * 10_000_000 + b"]",
    "nesting, 500,000 deep": b"[" * 500_000 + b"]" * 500_000,
    "90,000 keys, one of them twice": b"{" + b",".join(b'"%d":1' % number for number in range(90_000)) + b',"0":1}',
    "an integer of 1,000,000 digits": b"9" * 1_000_000,
    "not UTF-8": b'"\xff"',
}


def hostile(port: int) -> list[tuple[str, int, float]]:
    """Of each of HOSTILE its answer's status, and the seconds until it is there, medians of nine."""

    async def answer(body: bytes) -> tuple[int, float]:
        async with Caller(port) as caller:
            began = time.perf_counter()
            caller.writer.write(request(port, body, "application/json"))
            line = await caller.reader.readline()
            return int(line.split()[1]), time.perf_counter() - began

    found = []
    for name, body in HOSTILE.items():
        answers = [asyncio.run(answer(body)) for _ in range(9)]
        found.append((name, answers[0][0], statistics.median(seconds for _, seconds in answers)))
    return found


Rounds = dict[str, list[tuple[float, float, float]]]


def measure(made: Bench, events: int, rounds: int) -> tuple[Rounds, list[tuple[str, int, float]]]:
    """Of each way and round: events a second, p50 and p99 in seconds; and what hostile bodies came to."""
    ports = {"bare": free_port(), "producer": free_port()}
    (made.folder / "queues.toml").write_text(QUEUES)
    (made.folder / "events.toml").write_text(EVENTS)
    (made.folder / "tokens").write_text(f"bench:{TOKEN}\n")
    made.program("bare", [sys.executable, "-m", "bench.doors_bare"], API_PORT=str(ports["bare"]))
    made.program("producer", API_PORT=str(ports["producer"]), API_TOKENS_FILE=str(made.folder / "tokens"))
    consumer = made.program("consumer").pid
    ways: dict[str, Callable[[], tuple[float, list[float]]]] = {
        "bare route, LPUSH only": lambda: over_http(ports["bare"], events),
        "HTTP door": lambda: over_http(ports["producer"], events),
        "HTTP door, batches of 100": lambda: over_http(ports["producer"], events * 4, batch=100),
        "broker door": lambda: by_broker(made, consumer, events),
    }
    found: Rounds = {name: [] for name in ways}
    for way in ways.values():
        way()  # what a first request loads is not its cost
    for number in range(rounds):
        for name, way in ways.items():
            rate, seconds = way()
            wait_until(lambda: not made.client(1).zcard("switchyard:outbox"), "the accepted workflows to be published")
            made.client().delete("default")
            centiles = statistics.quantiles(seconds, n=100)
            found[name].append((rate, statistics.median(seconds), centiles[98]))
            out.print(
                f"round {number + 1} of {rounds}: {name} {rate:,.0f} events/s, p50 {1000 * found[name][-1][1]:.1f} ms"
            )
    return found, hostile(ports["producer"])


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    try:
        with bench() as made:
            found, answers = measure(made, chosen.events, chosen.rounds)
    except SwitchyardError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    table = Table("way", "events/s", "p50 ms", "p99 ms", "rate to the bare route's", box=None, pad_edge=False)
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    bare = medians["bare route, LPUSH only"][0]
    for name, (rate, p50, p99) in medians.items():
        table.add_row(name, f"{rate:,.0f}", f"{1000 * p50:.1f}", f"{1000 * p99:.1f}", f"{rate / bare:.2f}")
    out.print(table)
    out.print(f"medians of {chosen.rounds} rounds; {AT_ONCE} requests at once, the broker's p50 and p99 one at a time; "
              f"{os.cpu_count()} cores, Python {platform.python_version()}")  # fmt: skip
    table = Table("hostile body", "answer", "ms", box=None, pad_edge=False)
    for name, status, seconds in answers:
        table.add_row(name, str(status), f"{1000 * seconds:.1f}")
    out.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
