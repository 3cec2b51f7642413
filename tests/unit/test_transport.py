"""Which brokers get our transport, and that it is still kombu's Redis transport to everybody else. No network."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from kombu import Connection
from redis import SSLConnection

from switchyard.errors import Unroutable

OURS = "switchyard.broker.transport:Transport"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        # Redis, plain and over TLS
        ("redis://:secret@127.0.0.1:1/0", OURS),
        ("rediss://:secret@127.0.0.1:1/0?ssl_cert_reqs=required", OURS),
        # several to fail over between are one kind
        ("redis://127.0.0.1:1/0;redis://127.0.0.1:2/0", OURS),
        # kombu has transports of their own for these
        ("sentinel://127.0.0.1:1/0", "None"),
        ("redis+socket:///run/redis.sock", "None"),
    ],
)
def test_an_app_has_our_transport_where_the_broker_is_a_redis(
    config_dir: Path, python: Callable[..., str], url: str, expected: str
) -> None:
    """Told by the URL, whose own choice another kind of broker keeps."""
    (config_dir / "queues.toml").touch()
    code = "from switchyard.producer import app; print(app.conf.broker_transport)"
    assert python(code, CELERY_BROKER_URL=url, CELERY_RESULT_BACKEND="redis://127.0.0.1:1/1").strip() == expected


def test_a_rediss_url_still_means_tls() -> None:
    """The scheme's options reach the sockets."""
    with Connection("rediss://127.0.0.1:1/0?ssl_cert_reqs=required", transport=OURS) as connection:
        channel_class = connection.transport.Channel
        assert connection.ssl
        assert issubclass(channel_class.connection_class_ssl, SSLConnection)


def test_it_is_a_redis_to_celery() -> None:
    """Celery broadcasts task events, and stops prefetching, for drivers it knows by this name."""
    with Connection("redis://127.0.0.1:1/0", transport=OURS) as connection:
        assert (connection.transport.driver_type, connection.transport.driver_name) == ("redis", "redis")


def test_the_error_survives_the_way_out_of_a_prefork_child() -> None:
    """It is pickled there."""
    assert str(pickle.loads(pickle.dumps(Unroutable("No queue.")))) == "No queue."
