"""A Redis, a publisher and workers of one drill on one transport, in a folder of its own, and the ledger beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bench.drills.ledger import LEDGER, Kill, Ledger
from bench.drills.outcome import Outcome
from bench.drills.publishing import Publisher
from bench.workers import wait_until
from redis import Redis, RedisError
from tests.support import Deployment, Server, processes

from switchyard.broker.scripts import DEAD_LETTER, DEAD_LETTERS, DELAYED
from switchyard.health import is_ready, program_name
from switchyard.settings import ROOT

#: Seconds of a lease in every drill, the shortest that settings take; on the stock transport, its visibility timeout.
LEASE = 5.0
#: Deliveries of a message that dies with its workers, before it is set aside.
MAX_DELIVERIES = 5
#: Seconds between two sweeps for leases that have lapsed.
SWEEP = 1.0
#: Acknowledgements that a worker may have noted and not sent yet.
BATCH = 64
#: Seconds without any progress after which what has not ended is lost.
PATIENCE = 25.0
#: Slots of a worker of each pool; each pool has the queue of its name.
SLOTS = {"solo": 1, "threads": 4, "gevent": 10, "prefork": 2}


def fetched(pool: str) -> int:
    """The most messages that a worker of this pool holds: those it runs, and those it has fetched ahead."""
    return SLOTS[pool] * (2 if pool == "gevent" else 1)


def patiently(condition: Callable[[], object], seconds: float = LEASE + 5) -> bool:
    """Wait for what may never happen on a transport that loses things."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@dataclass
class Worker:
    """A worker that was started; it may be up, coming up, or dead."""

    queue: str
    process: subprocess.Popen[bytes]
    state: Path

    @property
    def pid(self) -> int:
        """Of its main process, and of its group."""
        return self.process.pid

    def ready(self) -> bool:
        """Whether it says that it consumes."""
        return is_ready(self.state, program_name(self.queue), self.pid)

    def ready_or_dead(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.ready() or self.process.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal to the worker and to all of its children."""
        os.killpg(self.pid, number)


class Site:
    """One drill's ground. `say` shows a person what goes on."""

    def __init__(
        self, server: Server, folder: Path, transport: str, pools: Iterable[str], say: Callable[[str], None]
    ) -> None:
        self.server, self.folder, self.transport, self.say = server, folder, transport, say
        self.deployment = Deployment(server, folder, "bench.drills.project:app", ROOT)
        self.deployment.queues("".join(map(_table, pools)))
        path = folder / "ledger"
        self.environment = {
            **self.deployment.environment, "BROKER_TRANSPORT": transport, "BROKER_LEASE": str(LEASE),
            "MAX_DELIVERIES": str(MAX_DELIVERIES), "TASK_ROUTES": "{}", "LOG_FORMAT": "json", LEDGER: str(path),
        }  # fmt: skip
        self.ledger = Ledger(path)
        self.publisher = Publisher(self.environment, folder / "publisher.log")
        self.kills: list[Kill] = []
        #: The workers of each queue that were not killed, the oldest first.
        self.workers: dict[str, list[Worker]] = defaultdict(list)
        self._started = 0

    def start(self, queue: str, **extra: str) -> Worker:
        """Start a worker of a queue, and do not wait for it. Only the main thread may: a worker ends with who started it."""
        self._started += 1
        state = self.folder / f"state-{self._started}"
        own = {"QUEUE": queue, "STATE_DIR": str(state), "NODE_HOST": f"drill{self._started}", **extra}
        with self.deployment.log(queue).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "switchyard", "worker"],
                env={**self.environment, **own}, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        worker = Worker(queue, process, state)
        self.workers[queue].append(worker)
        return worker

    def ready(self, *queues: str) -> None:
        """Wait until every worker of these queues, or of all, says that it consumes."""
        for worker in [worker for queue in queues or list(self.workers) for worker in self.workers[queue]]:
            wait_until(worker.ready_or_dead, f"a worker of {worker.queue} to be ready")
            if worker.process.poll() is not None:
                log = self.deployment.log(worker.queue).read_text()
                raise RuntimeError(f"A worker of {worker.queue} ended by itself:\n{log[-2000:]}")

    def kill(self, worker: Worker) -> Kill:
        """SIGKILL for a worker and its children."""
        kill = Kill(worker.queue, worker.pid, time.monotonic())
        worker.signal(9)
        worker.process.wait()
        self.workers[worker.queue].remove(worker)
        self.kills.append(kill)
        return kill

    def busy(self, worker: Worker, tasks: int = 1) -> None:
        """Wait until a worker has so many tasks in hand."""
        wait_until(lambda: len(self.ledger.running(worker.pid)) >= tasks, f"{tasks} tasks to be begun")

    def client(self) -> Redis:
        """A client of the broker's database."""
        return self.server.client(0)

    def waiting(self) -> int:
        """Messages that no worker has fetched, of all queues."""
        with self.client() as client:
            return sum(cast("int", client.llen(queue)) for queue in self.workers)

    def unacknowledged(self) -> set[str]:
        """The names of the tasks whose messages are recorded as fetched."""
        with self.client() as client:
            entries = cast("list[str]", client.hvals("unacked"))
        return {json.loads(entry)[0]["headers"]["id"] for entry in entries}

    def dead_letters(self) -> Counter[str]:
        """How many messages of each queue were set aside."""
        with self.client() as client:
            ids = cast("list[str]", client.zrange(DEAD_LETTERS, 0, -1))
            return Counter(cast("str", client.hget(f"{DEAD_LETTER}{id_}", "queue")) for id_ in ids)

    def drain(self) -> None:
        """Wait until all that was accepted has ended, or nothing of it can any more."""
        wait_until(self.publisher.settled, "the publisher's answers", 120)
        ended, progress, empty = -1, time.monotonic(), 0
        while self.ledger.read().lost(self.publisher.accepted):
            now = time.monotonic()
            if (done := sum(self.ledger.done.values())) != ended:
                ended, progress = done, now
            empty = empty + 1 if self._nothing_left() else 0
            if empty > 20 or now - progress > PATIENCE:
                return
            time.sleep(0.1)

    def _nothing_left(self) -> bool:
        living = [worker.pid for workers in self.workers.values() for worker in workers]
        if any(self.ledger.running(pid) for pid in living):
            return False
        try:
            with self.client() as client:
                return not client.hlen("unacked") and not client.zcard(DELAYED) and not self.waiting()
        except RedisError:
            return False

    def outcome(self, drill: str, pool: str, blows: int | None = None) -> Outcome:
        """Count what became of a queue's tasks."""
        names, ledger = self.publisher.names(pool), self.ledger.read()
        kills = [kill for kill in self.kills if kill.queue == pool]
        lost = ledger.lost(names)
        return Outcome(
            drill, pool, self.transport, len(kills) if blows is None else blows, len(names), len(names) - len(lost),
            ledger.again(names), ledger.twice(names), len(lost), self.dead_letters()[pool], ledger.recoveries(kills),
        )  # fmt: skip

    def close(self) -> None:
        """End every process that was started here, and whatever those have started."""
        self.publisher.close()
        self.ledger.close()
        mark = f"{LEDGER}={self.folder / 'ledger'}"
        # A supervisor first: it would start again what dies.
        for pid, process in sorted(processes().items(), key=lambda item: "supervisord" not in item[1]["shown"]):
            if mark in process["shown"]:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue
        for workers in self.workers.values():
            for worker in workers:
                worker.process.wait()


def _table(pool: str) -> str:
    return f'[queues.{pool}]\ntasks = ["drill.{pool}.*"]\npool = "{pool}"\nconcurrency = {SLOTS[pool]}\ndrain = 1\nmemory = "2G"\n'
