"""A Redis and workers of a bench's own, on a queues.toml of its own: what runs on this machine is neither used nor disturbed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import redis

from switchyard.errors import SwitchyardError
from switchyard.health import is_ready, program_name
from switchyard.runtime.redis_server import find_server
from switchyard.settings import ROOT, environment, settings

#: Seconds until a server or a worker must be ready.
PATIENCE = 60


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bench:
    """One bench's server and workers, in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        url = f"redis://127.0.0.1:{self.port}"
        self.environment = {
            **{k: v for k, v in environment().items() if not k.startswith(("CELERY", "QUEUE", "TASK_ROUTES"))},
            "CELERY_APP": settings().celery_app or "", "CELERY_BROKER_URL": f"{url}/0", "CELERY_RESULT_BACKEND": f"{url}/1",
            "ARTEFACTS_DIR": str(folder / "artefacts"), "TASK_ROUTES": "{}", "CONFIG_DIR": str(folder), "STATE_DIR": str(folder / "state"), "LOG_FORMAT": "json", "DEMO": "0",
            "PYTHONPATH": f"{ROOT / 'services'}{os.pathsep}{ROOT}",
        }  # fmt: skip
        options = ["--bind", "127.0.0.1", "--appendonly", "yes", "--save", "", "--dir", str(folder)]
        self.start("redis", [str(find_server()), "--port", str(self.port), *options])
        wait_until(self._answers, "the Redis server to answer")

    def client(self, database: int = 0) -> redis.Redis:
        """A client of the server; 0 is the broker, 1 holds results and records."""
        return redis.Redis(port=self.port, db=database, decode_responses=True)

    def without_persistence(self) -> None:
        """Nothing is written: a disk that others use would be measured as well, and is the same for everybody."""
        self.client().config_set("appendonly", "no")

    def workers(self, toml: str, *queues: str) -> list[subprocess.Popen[bytes]]:
        """Start a worker for each of `queues` of this queues.toml, and return when all consume."""
        (self.folder / "queues.toml").write_text(toml)
        command = [sys.executable, "-m", "switchyard", "worker"]
        started = {queue: self.start(queue, command, QUEUE=queue) for queue in queues}
        state = Path(self.environment["STATE_DIR"])
        for queue, process in started.items():
            self._wait_until_ready(queue, process, state, program_name(queue))
        return list(started.values())

    def program(self, name: str, command: list[str] | None = None, **extra: str) -> subprocess.Popen[bytes]:
        """Start another program of the deployment, or a command, and return when it says that it is ready."""
        process = self.start(name, command or [sys.executable, "-m", "switchyard", name], **extra)
        self._wait_until_ready(name, process, Path(self.environment["STATE_DIR"]), program=name)
        return process

    def _wait_until_ready(self, name: str, process: subprocess.Popen[bytes], state: Path, program: str) -> None:
        ready = partial(is_ready, state, program, process.pid)
        wait_until(lambda: ready() or process.poll() is not None, f"{name} to be ready", 3 * PATIENCE)
        if process.poll() is not None:
            raise SwitchyardError(f"{name} ended:\n{self.log(name)[-2000:]}")

    def said(self, event: str) -> bool:
        """Whether any worker has logged this event."""
        return any(f'"event": "{event}"' in log.read_text() for log in self.folder.glob("*.log"))

    def stop(self, processes: list[subprocess.Popen[bytes]]) -> None:
        """End these with all their children, whatever they are doing, and wait until they are gone."""
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()

    def start(self, name: str, command: list[str], *, piped: bool = False, **extra: str) -> subprocess.Popen[bytes]:
        """Start a group of processes that ends with the bench; piped, it is spoken to by its input and output."""
        pipe = subprocess.PIPE if piped else None
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, env={**self.environment, **extra}, cwd=ROOT, stdin=pipe, stdout=pipe or log, stderr=log, start_new_session=True)  # fmt: skip
        self.processes.append(process)
        return process

    def log(self, name: str) -> str:
        """What the processes whose names begin so have said."""
        return "".join(file.read_text(errors="replace") for file in sorted(self.folder.glob(f"{name}*.log")))

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench in a folder that is gone afterwards, as are its processes."""
    # Else a kill would leave the server and the workers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
        made = Bench(Path(folder))
        # This process publishes to it as well: its own settings are read from here on.
        os.environ.update(
            {k: made.environment[k] for k in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CONFIG_DIR", "STATE_DIR")}
        )
        settings.cache_clear()
        (made.folder / "queues.toml").touch()
        try:
            yield made
        finally:
            made.stop(made.processes)


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Raises SwitchyardError when the condition does not hold in time."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise SwitchyardError(f"Waited {patience:g} s in vain for {what}.")
        time.sleep(0.02)
