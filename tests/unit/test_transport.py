"""Which brokers get our transports, and that they are still kombu's Redis transport to everybody else. No network."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from kombu import Connection
from redis import SSLConnection

from switchyard.broker import scripts
from switchyard.errors import Unroutable
from switchyard.events import refused
from switchyard.producer import clock
from switchyard.workflows import record

LEASED, STOCK = "switchyard.broker.transport:Transport", "switchyard.broker.stock:Transport"
BOTH = pytest.mark.parametrize("transport", [LEASED, STOCK])


@pytest.mark.parametrize(
    ("url", "chosen", "expected"),
    [
        # Redis, plain, over TLS, or by a socket of this machine
        ("redis://:secret@127.0.0.1:1/0", "leased", LEASED),
        ("rediss://:secret@127.0.0.1:1/0?ssl_cert_reqs=required", "leased", LEASED),
        ("redis+socket:///run/redis.sock", "leased", LEASED),
        # several to fail over between are one kind
        ("redis://127.0.0.1:1/0;redis://127.0.0.1:2/0", "leased", LEASED),
        # with kombu's rules, nothing vanishes either
        ("redis://:secret@127.0.0.1:1/0", "stock", STOCK),
        ("rediss://:secret@127.0.0.1:1/0?ssl_cert_reqs=required", "stock", STOCK),
        # kombu has a transport of its own for it
        ("sentinel://127.0.0.1:1/0", "stock", "None"),
    ],
)
def test_an_app_has_our_transport_where_the_broker_is_a_redis(
    config_dir: Path, python: Callable[..., str], url: str, chosen: str, expected: str
) -> None:
    """Told by the URL, whose own choice another kind of broker keeps."""
    (config_dir / "queues.toml").touch()
    code = "from switchyard.producer import app; print(app.conf.broker_transport)"
    extra = {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/1", "BROKER_TRANSPORT": chosen}
    assert python(code, **extra).strip() == expected


@BOTH
def test_a_rediss_url_still_means_tls(transport: str) -> None:
    """The scheme's options reach the sockets."""
    with Connection("rediss://127.0.0.1:1/0?ssl_cert_reqs=required", transport=transport) as connection:
        channel_class = connection.transport.Channel
        assert connection.ssl
        assert issubclass(channel_class.connection_class_ssl, SSLConnection)


@BOTH
def test_it_is_a_redis_to_celery(transport: str) -> None:
    """Celery broadcasts task events, and stops prefetching, for drivers it knows by this name."""
    with Connection("redis://127.0.0.1:1/0", transport=transport) as connection:
        assert (connection.transport.driver_type, connection.transport.driver_name) == ("redis", "redis")


@BOTH
def test_a_connection_that_is_made_and_not_used_starts_nothing(python: Callable[..., str], transport: str) -> None:
    """Neither a thread nor an open file: a publisher has no leases to keep."""
    code = f"""
import os, threading
from kombu import Connection
files = lambda: len(os.listdir("/proc/self/fd"))
before = files()
for _ in range(20):
    with Connection("redis://127.0.0.1:1/0", transport={transport!r}) as connection:
        connection.transport.Channel
print(threading.active_count(), files() - before)
"""
    assert python(code).split()[0] == "1"


def test_no_key_of_the_transports_is_somebody_elses() -> None:
    """Results, records and the schedules' memory are in the same database where only a broker is named."""
    of_leases = (scripts.DEAD_LETTERS, scripts.DEAD_LETTER, scripts.CLOCK, scripts.WORKERS)
    others = (record.OPEN, record.INDEX, record.OUTBOX, record.WAKE, refused.REFUSED, clock.MEMORY)
    assert len({*of_leases, *others}) == len(of_leases) + len(others)
    assert not any(key.startswith("switchyard:workflow") for key in of_leases)


def test_the_error_survives_the_way_out_of_a_prefork_child() -> None:
    """It is pickled there."""
    assert str(pickle.loads(pickle.dumps(Unroutable("No queue.")))) == "No queue."
