"""Real services for tests: a Redis or Valkey of their own, and real workers. What is missing skips on a laptop and fails in CI."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from tests.interpreter import interpreter

ROOT = Path(__file__).resolve().parents[1]
CI = bool(os.environ.get("CI"))
#: Seconds a condition may take to come true: a busy machine is slow, only a hang is longer.
PATIENCE = 60
#: Seconds that a program may take to start: a dozen start at once.
STARTING = 180


def missing(what: str) -> None:
    """A service that a test needs is not there: say so, and in CI fail."""
    if CI:
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing here")


def eventually(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> object:
    """Wait until the condition holds and return its value."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {timeout} s in vain for: {what}")
        time.sleep(0.05)
    return value


def nothing_is_left(broker: redis.Redis) -> bool:
    """Whether no message waits in the queue `default` or is held: looked at once, as a task may publish another one and end."""
    return bool(broker.pipeline().llen("default").hlen("unacked").execute() == [0, 0])


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """So many, of which no two are the same."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class Server:
    """A Redis or Valkey server that can be killed and started again over the same append-only file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port, self.options = folder, free_port(), options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from switchyard.errors import ConfigError
        from switchyard.runtime.redis_server import find_server

        try:
            binary = find_server()
        except ConfigError:
            missing("a Redis or Valkey server")
        # With everysec, Redis holds back what is written during a slow fsync, and kill() would take it along (docs/delivery.md).
        options = [
            "--appendonly",
            "yes",
            "--appendfsync",
            "no",
            "--save",
            "",
            "--dir",
            str(self.folder),
            "--bind",
            "127.0.0.1",
        ]
        log = (self.folder / "redis.log").open("ab")
        self.process = subprocess.Popen(
            [binary, "--port", str(self.port), *options, *self.options], stdout=log, stderr=log
        )
        log.close()
        eventually(self.answers, "the Redis server to answer")

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self, database: int = 1) -> redis.Redis:
        return redis.Redis(port=self.port, db=database, decode_responses=True, socket_timeout=5)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def environment(self) -> dict[str, str]:
        url = f"redis://127.0.0.1:{self.port}"
        return {"CELERY_BROKER_URL": f"{url}/0", "CELERY_RESULT_BACKEND": f"{url}/1"}


class Deployment:
    """Somebody's project on our workers, without supervisord: its environment, its workers, and a way to ask it things."""

    def __init__(self, server: Server, folder: Path, app: str, path: Path) -> None:
        self.server, self.folder = server, folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("CELERY", "QUEUE"))},
            **server.environment,
            "CELERY_APP": app,
            "CONFIG_DIR": str(folder),
            "STATE_DIR": str(folder / "state"),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "services"), str(path)]),
            "TEST_FOLDER": str(folder),
            "DEMO": "0",
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def queues(self, toml: str) -> None:
        (self.folder / "queues.toml").write_text(toml)

    def start(self, program: str, **extra: str) -> subprocess.Popen[bytes]:
        """Start one of the deployment's programs (`python -m switchyard <program>`) and wait until it says that it is ready."""
        from switchyard.health import is_ready

        log = self.log(program).open("ab")
        environment = {**self.environment, **extra}
        started = subprocess.Popen(
            [sys.executable, "-m", "switchyard", program],
            env=environment,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.workers.append(started)
        eventually(
            lambda: is_ready(self.folder / "state", program, started.pid) or started.poll() is not None,
            f"{program} to be ready",
            STARTING,
        )
        assert started.poll() is None, self.log(program).read_text()
        return started

    def events(self, toml: str) -> None:
        (self.folder / "events.toml").write_text(toml)

    def start_worker(self, queue: str = "default") -> subprocess.Popen[bytes]:
        """Start a queue's worker and wait until it says that it is ready."""
        return self.start_workers(queue)[queue]

    def start_workers(self, *queues: str) -> dict[str, subprocess.Popen[bytes]]:
        """Start the workers of these queues side by side and wait until each says that it is ready."""
        from switchyard.health import is_ready, program_name

        command = [sys.executable, "-m", "switchyard", "worker"]
        started = {}
        for queue in queues:
            environment = {**self.environment, "QUEUE": queue}
            with self.log(queue).open("ab") as log:
                started[queue] = subprocess.Popen(
                    command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
                )
            self.workers.append(started[queue])
        for queue, worker in started.items():
            name = program_name(queue)
            eventually(
                lambda name=name, worker=worker: (
                    is_ready(self.folder / "state", name, worker.pid) or worker.poll() is not None
                ),
                f"the worker of {queue} to be ready",
                STARTING,
            )
            assert worker.poll() is None, self.log(queue).read_text()
        return started

    def beats(self, queue: str, worker: subprocess.Popen[bytes]) -> bool:
        """Whether a container's health check, or `make ps`, would find this worker well."""
        from switchyard.health import STALE_S, is_beating, program_name

        return is_beating(self.folder / "state", program_name(queue), worker.pid, within_s=STALE_S)

    def send(self, task: str, *args: object, queue: str = "default") -> None:
        """Publish a task as a producer would."""
        self.python(f"from switchyard.producer import app; app.send_task({task!r}, args={args!r}, queue={queue!r})")

    def log(self, queue: str = "default") -> Path:
        return self.folder / f"{queue}.log"

    def python(self, code: str, **extra: str) -> str:
        """What a Python program of this project prints."""
        environment = {**self.environment, **extra}
        done = interpreter().run(code, environment, ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def kill_workers(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                # The whole group: a prefork worker's children must not outlive the test.
                os.killpg(worker.pid, 9)
            worker.wait()

    def close(self) -> None:
        self.kill_workers()
        if self.server.answers():
            self.server.client().flushall()


def processes() -> dict[int, dict[str, str]]:
    """What one can see of every process of this machine, as `ps axeww` would: parent, command line and environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = folder.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1]
            shown = [
                folder.joinpath(name).read_bytes().replace(b"\0", b" ").decode(errors="replace")
                for name in ("cmdline", "environ")
            ]
        except OSError:  # it has ended, or is somebody else's
            continue
        found[int(folder.name)] = {"parent": parent, "shown": " ".join(shown)}
    return found


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [child for child, process in processes().items() if process["parent"] == str(pid)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
