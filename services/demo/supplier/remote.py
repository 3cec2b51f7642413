"""The stand-in's own controls, over HTTP: its knobs and its counts. A real supplier has neither."""

import json
from typing import Any

import urllib3

from demo.errors import SupplierError


class Remote:
    """The stand-in on 127.0.0.1. Methods raise SupplierError when it is not there or refuses."""

    def __init__(self, port: int) -> None:
        """Connects at the first request only."""
        self._url = f"http://127.0.0.1:{port}"

    def turn_knobs(self, *, latency_ms: int, failure_rate: float) -> None:
        """Set how long an answer takes, in milliseconds, and which share of them fails, 0 to 1."""
        self._ask("PUT", "/knobs", {"latency_ms": latency_ms, "failure_rate": failure_rate})

    def stats(self) -> dict[str, Any]:
        """What it has served since it started, and the status posts and their distinct keys since ever."""
        return self._ask("GET", "/stats")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            reply = urllib3.request(method, self._url + path, body=json.dumps(body) if body else None, timeout=5.0)
        except urllib3.exceptions.HTTPError as exc:
            raise SupplierError(f"The demo's supplier at {self._url} does not answer ({exc}); see `make ps`.") from exc
        if reply.status != 200:
            raise SupplierError(f"The demo's supplier refused {method} {path}: {reply.data.decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(reply.data)
        return answer
