"""What is started, alone, and how one sees that it is ready: workers by their first task, programs by what they say, servers by their port."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.systems.catalogue import POOLS, ours, peers, stock
from bench.systems.running import running
from bench.systems.system import System
from bench.workers import Bench, free_port

from switchyard.health import is_ready
from switchyard.settings import ROOT

_FLOWER = ROOT / ".venv-flower" / "bin" / "celery"


@dataclass(frozen=True)
class Started:
    """Groups of processes, by the pids of their first ones, since when they are there, and whether they do what they are for."""

    since: float
    groups: list[int]
    ready: Callable[[], bool]


@dataclass(frozen=True)
class Program:
    """Something that can be started alone, and is gone when the block that it is started in has ended."""

    name: str
    ours: bool
    start: Callable[[Bench], AbstractContextManager[Started]]


def programs() -> list[Program]:
    """All, ours first."""
    systems = [*(ours(pool, 1) for pool in POOLS), *(stock(pool, 1) for pool in POOLS), *peers(1)]
    workers = [Program(f"worker: {system.name}", system.ours, partial(_worker, system)) for system in systems]
    doors = [Program(name, True, partial(_door, name)) for name in ("producer", "consumer", "clock")]
    flower = [Program("Flower", False, _flower)] if _FLOWER.exists() else []
    return [
        *workers[: len(POOLS)],
        *doors,
        *workers[len(POOLS) :],
        Program("supervisord", False, _supervisord),
        *flower,
    ]


@contextmanager
def _worker(system: System, made: Bench) -> Iterator[Started]:
    with running(made, system) as some:
        some.send()
        made.stop([some.publisher.process])  # what is measured is alone
        since = time.monotonic()
        some.start()
        yield Started(since, [worker.pid for worker in some.workers], lambda: some.begun().tasks == 1)


@contextmanager
def _door(name: str, made: Bench) -> Iterator[Started]:
    (made.folder / "queues.toml").write_text('[queues.default]\ntasks = ["*"]\n')
    (made.folder / "events.toml").write_text("")
    (made.folder / "tokens").write_text("bench:bench\n")
    command = [sys.executable, "-m", "switchyard", name]
    own = {"API_PORT": str(free_port()), "API_TOKENS_FILE": str(made.folder / "tokens")}
    with _process(made, name, command, **own) as (since, pid):
        yield Started(since, [pid], lambda: is_ready(Path(made.environment["STATE_DIR"]), name, pid))


@contextmanager
def _supervisord(made: Bench) -> Iterator[Started]:
    rpc, file = made.folder / "supervisord.sock", made.folder / "supervisord.conf"
    file.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={made.folder / 'supervisord.pid'}\n"
        f"[unix_http_server]\nfile={rpc}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    )
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)]
    with _process(made, "supervisord", command) as (since, pid):
        yield Started(since, [pid], lambda: _listens(socket.AF_UNIX, str(rpc)))


@contextmanager
def _flower(made: Bench) -> Iterator[Started]:
    secrets, port = made.folder / "secrets", free_port()
    secrets.mkdir(exist_ok=True)
    (secrets / "broker_url").write_text(made.environment["CELERY_BROKER_URL"])
    (secrets / "flower_basic_auth").write_text("bench:bench")
    command = [
        str(_FLOWER),
        "-q",
        "flower",
        f"--conf={ROOT / 'config' / 'flower.py'}",
        "--address=127.0.0.1",
        f"--port={port}",
    ]
    with _process(made, "flower", command, SECRETS_DIR=str(secrets), PYTHONPATH="", CELERY_APP="") as (since, pid):
        yield Started(since, [pid], lambda: _listens(socket.AF_INET, ("127.0.0.1", port)))


@contextmanager
def _process(made: Bench, name: str, command: list[str], **environment: str) -> Iterator[tuple[float, int]]:
    since = time.monotonic()
    process = made.start(name, command, **environment)
    try:
        yield since, process.pid
    finally:
        made.stop([process])


def _listens(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0
