"""Workers on our transport and on kombu's, and messages for them, of the bench of tasks that do nothing."""

from __future__ import annotations

import itertools
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import kombu
from bench import processes
from bench.notes import NAME, PREFETCH, Begun, begun, transport_file
from bench.workers import Bench, wait_until
from celery import Celery

from switchyard.routing import published_queue

#: Each side has a queue and a database of its own: both may run at once, and a noisy moment is both's.
TOML = '[queues.default]\ntasks = ["*"]\n[queues.ours]\nconcurrency = 50\n[queues.kombus]\nconcurrency = 50\n'

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Side:
    """One of two that are compared: the name of its queue, its database, its app, and its queues.toml's folder if it has its own."""

    name: str
    database: int
    app: str = "ours"
    config: str | None = None


OURS, STOCK = Side("ours", 0), Side("kombus", 2, app="kombus")
SIDES = (OURS, STOCK)


@dataclass(frozen=True)
class Pool:
    """One of Celery's pools, with its slots."""

    name: str
    slots: int

    def __str__(self) -> str:
        return f"{self.name} -c {self.slots}"


POOLS = {pool.name: pool for pool in (Pool("solo", 1), Pool("threads", 8), Pool("prefork", 2), Pool("gevent", 50))}


class Worker:
    """One that runs, and what it has done."""

    def __init__(self, made: Bench, side: Side, pool: Pool, prefetch: int | None = None) -> None:
        self.made, self.state_dir = made, Path(made.environment["STATE_DIR"])
        self.name = f"{side.name}-{pool.name}-{next(_numbers)}"
        command = [
            sys.executable, "-m", "celery", "-q", "-A", f"bench.no_op.tasks:{side.app}", "worker", "-P", pool.name,
            "-c", str(pool.slots), "-Q", side.name, "-n", f"{self.name}@bench", "-l", "WARNING", "-O", "fair",
            "--without-gossip", "--without-mingle", "--without-heartbeat", "--prefetch-multiplier", "1",
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] = made.program(
            self.name,
            command,
            CELERY_BROKER_URL=f"redis://127.0.0.1:{made.port}/{side.database}",
            **{NAME: self.name, PREFETCH: str(prefetch or pool.slots)},
            **({"CONFIG_DIR": side.config} if side.config else {}),
        )

    @property
    def transport(self) -> str:
        """The class of its transport, as it says itself."""
        file = transport_file(self.state_dir, self.name)
        wait_until(lambda: file.exists() and file.read_text(), "a worker to say what its transport is")
        return file.read_text()

    def begun(self) -> Begun:
        """What it has done so far."""
        return begun(self.state_dir, self.name)

    def cpu(self) -> float:
        """Seconds of processor that it and its children have had; a busy machine makes these no longer."""
        return processes.cpu(self.process.pid)

    def stop(self) -> None:
        """End it, whatever it is doing."""
        self.made.stop([self.process])


def prepare(made: Bench, transport: str) -> None:
    """Write the queues, choose which transport of ours is meant, and have results go nowhere."""
    (made.folder / "queues.toml").write_text(TOML)
    made.environment["CELERY_RESULT_BACKEND"] = "disabled://"
    made.environment["BROKER_TRANSPORT"] = transport
    made.without_persistence()


class Copies:
    """Messages without end, each as kombu would publish it. Made before a worker reads the queue: the first one passes through it."""

    def __init__(self, made: Bench, side: Side, task: str = "bench.no_op") -> None:
        # By the nameless exchange, as our publishers address a queue, and by kombu's transport, as anybody publishes.
        url = f"redis://127.0.0.1:{made.port}/{side.database}"
        with Celery() as publisher, kombu.Connection(url) as connection:
            queue = published_queue(side.name)
            task_id = publisher.send_task(task, queue=queue, ignore_result=True, connection=connection).id
        message = str(made.client(side.database).rpop(side.name))
        tag = message.rsplit('"delivery_tag": "', 1)[1].split('"', 1)[0]
        self.parts = [part.split(tag) for part in message.split(task_id)]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        tag = str(uuid.uuid4())
        return str(uuid.uuid4()).join(tag.join(part) for part in self.parts)
