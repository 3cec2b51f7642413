"""What a server says of itself in, a refusal out if the leased transport cannot work with it."""

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


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
