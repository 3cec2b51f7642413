"""What every way shares, in whichever environment it runs: where things are, a lean client, a cheap store, and a word at the end.

Only the standard library and `redis`: the peers' environment has nothing of this project's.
"""

from __future__ import annotations

import json
import os
import socket
import time
from functools import cache
from typing import Any

import redis

#: Names, in the environment: the supplier's port, the file that takes products, Redis' port, and the items of this run.
SUPPLIER, STORE, REDIS, ITEMS = "BENCH_SUPPLIER", "BENCH_STORE", "BENCH_REDIS", "BENCH_ITEMS"
#: The list into which every way's callback says how many results it was called for; nothing else is in its database.
DONE, DATABASE = "bench:done", 5
#: The list into which a program says when it begins, and what it has spent until then on being loaded: neither is measured.
BEGUN = "bench:begun"
#: The list into which each process of a way's workers says that it is there.
READY = "bench:ready"
UPDATED = {"status": True, "message": "successfully updated"}


def redis_url(database: int) -> str:
    """The bench's server; each way has a database of its own."""
    return f"redis://127.0.0.1:{os.environ[REDIS]}/{database}"


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(redis_url(DATABASE))


def ready() -> None:
    """Say that this worker's process is there."""
    _client().rpush(READY, os.getpid())


def begin() -> None:
    """Say that this program is loaded, and begins."""
    _client().rpush(BEGUN, f"{time.time()} {time.process_time()}")


def done(results: int) -> None:
    """Say that the callback was called."""
    _client().rpush(DONE, results)


@cache
def _store() -> int:
    return os.open(os.environ[STORE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def save(product: dict[str, Any]) -> None:
    """Store a product: a line of a file, whole, whoever else writes."""
    os.write(_store(), json.dumps(product).encode() + b"\n")


def request(product_id: int) -> bytes:
    """Asks the supplier for a product."""
    return b"GET /products/%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % product_id


def product_in(reply: bytes) -> dict[str, Any]:
    """The product in a reply, which this supplier always sends in one piece."""
    product: dict[str, Any] = json.loads(reply.split(b"\r\n\r\n", 1)[1])
    return product


_idle: list[socket.socket] = []


def update(product_id: int) -> dict[str, Any]:
    """Ask and store, over sockets alone: leaner than any client that one would use. For the peers, lest theirs be what is measured."""
    connection = _idle.pop() if _idle else socket.create_connection(("127.0.0.1", int(os.environ[SUPPLIER])))
    connection.sendall(request(product_id))
    save(product_in(connection.recv(65536)))
    _idle.append(connection)
    return UPDATED
