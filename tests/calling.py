"""The HTTP door as a real process, and a caller of it, for tests: plain http.client, and a socket where that is too polite."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support import Deployment, free_port

TOKENS = "alice:alices-token\n# bob:bobs-token\ncarol:carols-token\n"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answer_of(response: http.client.HTTPResponse) -> Answer:
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


class Door:
    """The process `producer` of a deployment, and what alice asks it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.port = deployment, free_port()
        self.tokens = deployment.folder / "state" / "secrets" / "api_tokens"
        self.tokens.parent.mkdir(parents=True, exist_ok=True)
        self.tokens.write_text(TOKENS)
        self.process = deployment.start("producer", API_PORT=str(self.port))

    @property
    def log(self) -> str:
        return self.deployment.log("producer").read_text()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log that are such an event."""
        found = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, token: str | None = "alices-token", **headers: str
    ) -> Answer:
        """One request on a connection of its own. Headers are named with underscores."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given.setdefault("Authorization", f"Bearer {token}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, given)
            return answer_of(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def tell(self, *events: Any, path: str = "/v1/events", **headers: str) -> Answer:
        """Post one value, or several as a batch."""
        value = events[0] if len(events) == 1 else list(events)
        headers.setdefault("Content_Type", "application/json")
        return self.ask("POST", path, json.dumps(value).encode(), **headers)

    def send(self, *parts: bytes) -> socket.socket:
        """A connection over which these bytes have gone."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        for part in parts:
            connection.sendall(part)
        return connection

    def raw(self, *parts: bytes) -> Answer:
        """The answer to these bytes."""
        with self.send(*parts) as connection:
            response = http.client.HTTPResponse(connection)
            response.begin()
            return answer_of(response)

    def is_healthy(self) -> bool:
        return self.process.poll() is None and self.get("/healthz", Authorization="").status == 200


def head(*lines: str, method: str = "POST", path: str = "/v1/events") -> bytes:
    """The head of a request of alice's, with further header lines."""
    usual = ("Host: 127.0.0.1", "Authorization: Bearer alices-token", "Content-Type: application/json")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *usual, *lines, "", ""]).encode("latin-1")


def event(number: object, **changes: Any) -> dict[str, Any]:
    """An event that is accepted, or would be without the changes."""
    given = {"specversion": "1.0", "id": str(number), "source": "/tests", "type": "thing.happened"}
    return {**given, "data": {"item": number}, **changes}
