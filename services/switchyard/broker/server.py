"""What a server says of itself in, a refusal out if the leased transport cannot work with it. Asked before a worker starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from switchyard.errors import ConfigError

#: RPOP with a count came with 6.2. Valkey's numbers begin at 7.2.
OLDEST = (6, 2)
_OTHERWISE = "; or set BROKER_TRANSPORT=stock, with kombu's own rules of delivery."


def check_server(hello: Mapping[Any, Any] | None) -> None:
    """Raise ConfigError for a server that is too old, is part of a cluster, or does not speak RESP3.

    `hello` is the answer to HELLO (https://redis.io/docs/latest/commands/hello/).
    """
    said = {_text(key): _text(value) for key, value in (hello or {}).items()}
    version = said.get("version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if said.get("proto") != "3" or numbers < OLDEST:
        raise ConfigError(
            f"The broker is {said.get('server', 'a server')} {version}; leases need Redis 6.2 or Valkey 7.2 at least"
            + _OTHERWISE
        )
    if (mode := said.get("mode", "standalone")) != "standalone":
        raise ConfigError(
            f"The broker is in {mode} mode; leases need one server with all keys, so name a master" + _OTHERWISE
        )


def check_broker(url: str) -> None:
    """Raise ConfigError if messages cannot be leased from the server at `url`; one that does not answer is waited for."""
    import redis  # noqa: PLC0415  beside its one use

    # A socket, or several servers to fail over between, are written as kombu reads them and redis does not.
    if not url.startswith(("redis://", "rediss://")) or ";" in url:
        return
    client: Any = redis.Redis.from_url(url, protocol=3, socket_timeout=5, socket_connect_timeout=5)
    try:
        check_server(client.execute_command("HELLO"))
        client.execute_command("CLIENT TRACKING", "ON", "NOLOOP")
    except redis.exceptions.NoPermissionError as exc:
        raise ConfigError(f"The broker's user may not do what leases need ({exc}); allow it to" + _OTHERWISE) from None
    except redis.exceptions.ResponseError as exc:
        if "unknown command" in str(exc):  # older than RESP3
            check_server(None)
    except redis.exceptions.RedisError:
        pass
    finally:
        client.close()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
