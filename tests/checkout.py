"""A checkout of its own, driven through `make` as a newcomer would: its own .env, ports, secrets, Redis and products. In either runtime."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import redis
from tests.support import ROOT, children, eventually, free_ports

#: Variables of the test run that a newcomer's shell would not have.
OURS = (
    "CELERY",
    "QUEUE",
    "STATE_DIR",
    "CONFIG_DIR",
    "DEMO",
    "COMPOSE",
    "RUNTIME",
    "MAKE",
    "MFLAGS",
    "PYTEST",
    "PYTHONPATH",
    "REDIS_PORT",
    "API",
    "FLOWER",
    "SUPPLIER",
)

#: Seconds that one command may take: the whole demo on a busy machine, or the images of two deployments at once.
LONGEST_S = 1500


@dataclass(frozen=True)
class Answer:
    """What the HTTP door answered; `body` as JSON has it."""

    status: int
    headers: Message
    body: Any


class Checkout:
    """A copy of this working tree; only the installed packages are shared."""

    def __init__(self, folder: Path, runtime: str = "local") -> None:
        self.folder, self.runtime = folder, runtime
        self.project = f"switchyard-{uuid.uuid4().hex[:8]}"
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        for name in filter(lambda n: n and (ROOT / n).is_file(), names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        for environment in (".venv", ".venv-flower"):
            (folder / environment).symlink_to(ROOT / environment)
        names_of_ports = ("REDIS_PORT", "API_PORT", "FLOWER_PORT", "SUPPLIER_PORT")
        self.ports = dict(zip(names_of_ports, free_ports(len(names_of_ports)), strict=True))
        example = (folder / ".env.example").read_text()
        self.env(example + "".join(f"{name}={port}\n" for name, port in self.ports.items()) + self.own_settings)

    @property
    def own_settings(self) -> str:
        """What every .env of this checkout ends with. For its clock it is about noon, and no time of a nightly schedule; a zone that
        is behind has a + in its name.
        """
        zone = f"Etc/GMT{time.gmtime().tm_hour - 12:+d}"
        return f"RUNTIME={self.runtime}\nCOMPOSE_PROJECT_NAME={self.project}\nSUPPLIER_LATENCY_MS=5\nTIMEZONE={zone}\n"

    def env(self, text: str) -> None:
        (self.folder / ".env").write_text(text)

    @property
    def state(self) -> Path:
        return self.folder / ".switchyard"

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `make …` to its end; both its outputs are in `stdout`."""
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env={**self.clean_environment(), **environment}, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LONGEST_S,
        )  # fmt: skip

    def ok(self, *arguments: str, **environment: str) -> str:
        """What a `make …` that must succeed prints."""
        done = self.make(*arguments, **environment)
        assert done.returncode == 0, f"make {' '.join(arguments)}:\n{done.stdout}"
        return done.stdout

    def clean_environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith(OURS)}

    def log(self, program: str) -> str:
        """All that a program has logged."""
        if self.runtime == "docker":
            return self.compose("logs", "--no-color", "--no-log-prefix", program)
        return (self.state / "logs" / f"{program}.log").read_text(errors="replace")

    def logs(self) -> str:
        """All that every program has logged."""
        return "".join(map(self.log, self.states()))

    def compose(self, *arguments: str, **environment: str) -> str:
        """What a `docker compose …` in the folder, as anybody types it, prints; it must succeed."""
        done = subprocess.run(
            ["docker", "compose", *arguments], cwd=self.folder, env={**self.clean_environment(), **environment}, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}:\n{done.stderr}"
        return done.stdout

    def inside(self, service: str, code: str) -> str:
        """What a Python program prints in a service's container."""
        return self.compose("exec", "-T", service, "python", "-c", code).strip()

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "--all", "--quiet", service).strip()

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
            try:
                answer = self.ask("GET", location)
            except OSError:  # the door is away for a moment
                return None
            return answer.body if answer.status == 200 and answer.body["state"] in ("done", "failed") else None

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
        return int(self.query(f"SELECT count(*) FROM products WHERE refreshed_by = '{workflow_id}'"))

    def query(self, sql: str) -> Any:
        """The one value of a query of the store, looked up where the store is."""
        place = "/var/lib/switchyard" if self.runtime == "docker" else str(self.state)
        return self.python(
            "import json, sqlite3\n"
            f"database = sqlite3.connect('file:{place}/store/products.db?mode=ro', uri=True, timeout=30)\n"
            f"print(json.dumps(database.execute({sql!r}).fetchone()[0]))"
        )

    def ask_supplier(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the demo's supplier, which has a port of this machine in the local runtime only."""
        host = "supplier:8001" if self.runtime == "docker" else f"127.0.0.1:{self.ports['SUPPLIER_PORT']}"
        return self.python(
            "import urllib.request as u\n"
            f"request = u.Request('http://{host}{path}', {json.dumps(body).encode()!r}, method={method!r})\n"
            "print(u.urlopen(request, timeout=10).read().decode())"
        )

    def python(self, code: str) -> Any:
        """The JSON that a Python program prints, run where the tasks run."""
        if self.runtime == "docker":
            return json.loads(self.inside("worker-default", code))
        done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
        return json.loads(done.stdout)

    def is_written(self) -> bool:
        """Whether Redis holds back nothing, as it does for two seconds at most while its disk is slow: a kill loses what it does."""
        if self.runtime == "docker":
            script = "REDISCLI_AUTH=$(cat /run/switchyard/admin_password) redis-cli --user admin INFO persistence"
            return "aof_buffer_length:0" in self.compose("exec", "-T", "redis", "bash", "-c", script)
        password = (self.state / "secrets" / "redis_password").read_text().strip()
        with redis.Redis(port=self.ports["REDIS_PORT"], password=password) as client:
            return bool(client.info("persistence")["aof_buffer_length"] == 0)  # type: ignore[index]

    def supplier_keys(self) -> str:
        """The idempotency keys that the supplier has been told, one a line."""
        if self.runtime == "docker":
            return self.compose(
                "--profile", "demo", "exec", "-T", "supplier", "cat", "/var/lib/switchyard/supplier/keys"
            )
        return (self.state / "supplier" / "keys").read_text()

    def end(self) -> None:
        """Stop it, by force if need be."""
        pidfile = self.state / "run" / "supervisord.pid"
        self.make("down")
        if self.runtime == "docker":
            self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
            # Also those whose names newer ones have.
            ours = ["--filter", f"label=com.docker.compose.project={self.project}"]
            images = subprocess.run(
                ["docker", "image", "ls", "--quiet", *ours], capture_output=True, text=True, check=False
            )
            subprocess.run(
                ["docker", "image", "rm", "--force", *images.stdout.split()], capture_output=True, check=False
            )
        if pidfile.exists() and (pid := int(pidfile.read_text())):
            for process in [pid, *children(pid)]:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def workflow_named_by(refresh: subprocess.Popen[str]) -> str:
    """The id of the workflow that a refresh in the background has started."""
    assert refresh.stdout is not None
    return workflow_id_of(next((line for line in refresh.stdout if "workflow " in line), "it has named no workflow"))


def workflow_id_of(output: str) -> str:
    """The id in `workflow <id>`, which `make start` and `make demo` print first."""
    return output.split("workflow ", 1)[1].split(maxsplit=1)[0].rstrip(":")


@contextmanager
def turned(checkout: Checkout, **knobs: float) -> Iterator[None]:
    """The supplier's knobs, as its HTTP API has them, and back to what they were."""

    def put(values: Any) -> Any:
        return checkout.ask_supplier("PUT", "/knobs", values)

    before = put({})
    put(knobs)
    try:
        yield
    finally:
        put(before)


#: Seconds a workflow may take whose chunk the stock transport has lost in a kill: the sweep waits for 265 s before it sends it again.
SWEPT = 420


def wait_for_workflow(checkout: Checkout, workflow_id: str, timeout: float = SWEPT) -> str:
    """What `make workflow` says once the workflow has ended."""

    def ended() -> str:
        said = checkout.make("workflow", f"W={workflow_id}").stdout
        time.sleep(0.2)
        return said if ": done," in said or ": failed," in said else ""

    return str(eventually(ended, f"workflow {workflow_id} to end", timeout))
