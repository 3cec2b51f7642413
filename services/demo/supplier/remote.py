"""The stand-in's own controls, over HTTP: its knobs and its counts. A real supplier has neither."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3

from demo.errors import SupplierError


class Remote:
    """The stand-in at `url`. Methods raise SupplierError when it is not there or refuses."""

    def __init__(self, url: str) -> None:
        """Connects at the first request only."""
        self._url = url

    @contextmanager
    def turned(self, *, latency_ms: int, failure_rate: float) -> Iterator[None]:
        """Set how long an answer takes, in milliseconds, and which share of them fails, 0 to 1; and set it back."""
        before = self._ask("PUT", "/knobs", {})
        self._ask("PUT", "/knobs", {"latency_ms": latency_ms, "failure_rate": failure_rate})
        try:
            yield
        finally:
            self._ask("PUT", "/knobs", before)

    def stats(self) -> dict[str, Any]:
        """What it has served since it started, and the status posts and their distinct keys since ever."""
        return self._ask("GET", "/stats")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            reply = urllib3.request(
                method, self._url + path, body=None if body is None else json.dumps(body), timeout=5.0
            )
        except urllib3.exceptions.HTTPError as exc:
            raise SupplierError(f"The demo's supplier at {self._url} does not answer ({exc}); see `make ps`.") from exc
        if reply.status != 200:
            raise SupplierError(f"The demo's supplier refused {method} {path}: {reply.data.decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(reply.data)
        return answer
