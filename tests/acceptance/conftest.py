"""A checkout of its own, driven through `make` as a newcomer would: its own .env, ports, secrets, Redis and products."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT, children, eventually, free_port

#: Variables of the test run that a newcomer's shell would not have.
OURS = (
    "CELERY",
    "QUEUE",
    "STATE_DIR",
    "CONFIG_DIR",
    "DEMO",
    "MAKE",
    "MFLAGS",
    "PYTEST",
    "PYTHONPATH",
    "REDIS_PORT",
    "API",
    "FLOWER",
    "SUPPLIER",
)


@dataclass(frozen=True)
class Answer:
    """What the HTTP door answered; `body` as JSON has it."""

    status: int
    headers: Message
    body: Any


class Checkout:
    """A copy of this working tree; only the installed packages are shared."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        for name in filter(lambda n: n and (ROOT / n).is_file(), names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        for environment in (".venv", ".venv-flower"):
            (folder / environment).symlink_to(ROOT / environment)
        self.ports = {name: free_port() for name in ("REDIS_PORT", "API_PORT", "FLOWER_PORT", "SUPPLIER_PORT")}
        example = (folder / ".env.example").read_text()
        self.env(example + "".join(f"{name}={port}\n" for name, port in self.ports.items()) + "SUPPLIER_LATENCY_MS=5\n")

    def env(self, text: str) -> None:
        (self.folder / ".env").write_text(text)

    @property
    def state(self) -> Path:
        return self.folder / ".switchyard"

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `make …` to its end; both its outputs are in `stdout`."""
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env={**self.clean_environment(), **environment}, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        )  # fmt: skip

    def ok(self, *arguments: str, **environment: str) -> str:
        """What a `make …` that must succeed prints."""
        done = self.make(*arguments, **environment)
        assert done.returncode == 0, f"make {' '.join(arguments)}:\n{done.stdout}"
        return done.stdout

    def clean_environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith(OURS)}

    def log(self, program: str) -> str:
        """The log file of a program."""
        return (self.state / "logs" / f"{program}.log").read_text()

    def pids(self) -> dict[str, int]:
        """The pid of each program, as `make ps` says."""
        rows = [line.split() for line in self.make("ps").stdout.splitlines()]
        return {row[0]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}

    def states(self) -> dict[str, str]:
        """The state of each program, as `make ps` says."""
        return {
            row[0]: row[1]
            for row in map(str.split, self.make("ps").stdout.splitlines())
            if len(row) > 1 and row[0] != "program"
        }

    @property
    def tokens(self) -> Path:
        """The file of those who may call the HTTP door."""
        return self.state / "secrets" / "api_tokens"

    @property
    def token(self) -> str:
        """The token that the first `make up` has generated."""
        return self.tokens.read_text().split("\nlocal:", 1)[1].split()[0]

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Answer:
        """One request to the HTTP door, with the first token unless another is given. Raises OSError while it is away."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["API_PORT"], timeout=10)
        headers = {"Authorization": f"Bearer {token or self.token}"}
        content = None if body is None else json.dumps(body)
        try:
            connection.request(
                method, path, content, headers | ({"Content-Type": "application/json"} if content else {})
            )
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return Answer(answer.status, answer.headers, json.loads(text) if text else None)

    def ended(self, location: str) -> dict[str, Any]:
        """The workflow at this place below the HTTP door, once it has ended."""

        def look() -> Any:
            found = self.ask("GET", location).body
            return found if found["state"] in ("done", "failed") else None

        found: dict[str, Any] = eventually(look, f"{location} to end", 240)  # type: ignore[assignment]
        return found

    def start_refresh(self, limit: int) -> subprocess.Popen[str]:
        """Start a refresh in the background; its first line names the workflow."""
        return subprocess.Popen(
            ["make", "start", "W=refresh_products", f"ARGS=limit={limit}"], cwd=self.folder, env=self.clean_environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def refreshed_by(self, workflow_id: str) -> int:
        """How many products in the store this workflow has refreshed."""
        with sqlite3.connect(f"file:{self.state / 'store' / 'products.db'}?mode=ro", uri=True, timeout=30) as database:
            (count,) = database.execute(
                "SELECT count(*) FROM products WHERE refreshed_by = ?", (workflow_id,)
            ).fetchone()
        database.close()
        return int(count)

    def end(self) -> None:
        """Stop it, by force if need be."""
        pidfile = self.state / "run" / "supervisord.pid"
        self.make("down")
        if pidfile.exists() and (pid := int(pidfile.read_text())):
            for process in [pid, *children(pid)]:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def workflow_id_of(output: str) -> str:
    """The id in `workflow <id>`, which `make start` and `make demo` print first."""
    return output.split("workflow ", 1)[1].split(maxsplit=1)[0].rstrip(":")


def wait_for_workflow(checkout: Checkout, workflow_id: str, timeout: float = 240) -> str:
    """What `make workflow` says once the workflow has ended."""

    def ended() -> str:
        said = checkout.make("workflow", f"W={workflow_id}").stdout
        time.sleep(0.2)
        return said if ": done," in said or ": failed," in said else ""

    return str(eventually(ended, f"workflow {workflow_id} to end", timeout))


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A checkout that nothing has been done in."""
    made = Checkout(tmp_path / "switchyard")
    yield made
    made.end()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose deployment is up; for tests that leave it so."""
    made = Checkout(tmp_path_factory.mktemp("up") / "switchyard")
    made.ok("up")
    yield made
    made.end()
