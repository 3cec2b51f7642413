"""The ways to have every product refreshed: what each starts, how it is told to begin, and the same measure for all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.fan_out import common
from bench.workers import Bench, free_port, wait_until

from switchyard import workflows
from switchyard.errors import SwitchyardError
from switchyard.producer import app
from switchyard.settings import ROOT

#: Our queue, as the demo has it.
TOML = '[queues.default]\ntasks = ["*"]\nimports = ["bench.fan_out.tasks"]\npool = "gevent"\nconcurrency = 16\ntime_limit = 60\n'
#: Items with which each way warms up, and the seconds after which a run is given up.
WARM_UP, PATIENCE = 100, 400
PEERS = ROOT / ".venv-peers" / "bin"
_HERE = "bench.fan_out"


@dataclass(frozen=True)
class Found:
    """One run: seconds until the callback was called, seconds of processor (workers and publisher), and the supplier's of these."""

    seconds: float
    cpu: float = 0.0
    supplier_cpu: float = 0.0


@dataclass(frozen=True)
class Way:
    """A way's words, the commands that run its workers, and the one that publishes; ours publishes by itself."""

    name: str
    workers: tuple[tuple[str, ...], ...]
    publish: tuple[str, ...] = ()
    #: Of each command, those that say that they are there.
    processes: int = 1


def _python(*module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *module)


def _article(*numbers: int) -> tuple[tuple[str, ...], ...]:
    command = "celery -q -A bench.fan_out.article worker -O fair -P gevent --autoscale=32,16 -l WARNING"
    return tuple(_python(*command.split(), "-n", f"article{number}@bench") for number in numbers)


def bare(kind: str, at_once: int, processes: int = 1) -> Way:
    """The loop without a queue."""
    words = f"{kind}, {at_once} at once" + (", 2 processes" if processes == 2 else "")
    return Way(f"bare loop, {words}", (), _python(f"{_HERE}.bare", kind, str(at_once), str(processes)))


OURS = Way("ours, 2 gevent workers", (_python("switchyard", "worker"),) * 2)
BARE = tuple(bare("gevent", at_once) for at_once in (100, 200, 400))
FASTER = (bare("asyncio", 400), bare("asyncio", 400, 2), bare("gevent", 400, 2))
ARTICLE = Way("the article's chord", _article(1), _python(f"{_HERE}.article", "update"))
TWO_ARTICLES = Way("the article's chord, 2 workers", _article(1, 2), _python(f"{_HERE}.article", "update"))
DRAMATIQ = Way(
    "dramatiq-gevent -p2 -t100", ((str(PEERS / "dramatiq-gevent"), f"{_HERE}.peer_dramatiq", "-p2", "-t100", "--skip-logging"),),
    (str(PEERS / "python"), "-m", f"{_HERE}.peer_dramatiq"), processes=2,
)  # fmt: skip
TASKIQ = Way(
    "taskiq stream -w2",
    ((str(PEERS / "taskiq"), "worker", f"{_HERE}.peer_taskiq:broker", "-w2", "--max-async-tasks", "100", "--log-level", "WARNING"),),
    (str(PEERS / "python"), "-m", f"{_HERE}.peer_taskiq"), processes=2,
)  # fmt: skip
#: By the words in which they are chosen.
WAYS = {
    "ours": (OURS,), "bare": BARE, "faster": FASTER, "article": (ARTICLE,), "articles": (TWO_ARTICLES,),
    "dramatiq": (DRAMATIQ,), "taskiq": (TASKIQ,),
}  # fmt: skip


class Races:
    """A Redis, a supplier, and one way at a time."""

    def __init__(self, made: Bench) -> None:
        self.made = made
        # A disk that others use would be measured as well, and is the same for all.
        made.client().config_set("appendonly", "no")
        (made.folder / "queues.toml").write_text(TOML)
        port = free_port()
        made.environment.update(
            {
                "CELERY_APP": f"{_HERE}.tasks:app",
                "QUEUE": "default",
                common.SUPPLIER: str(port),
                common.STORE: str(made.folder / "store"),
                common.REDIS: str(made.port),
            }
        )
        self.supplier = self._start("supplier", _python(f"{_HERE}.supplier", str(port)))
        self.done = made.client(common.DATABASE)

    @contextmanager
    def running(self, way: Way) -> Iterator[list[subprocess.Popen[bytes]]]:
        """The way's workers, warm; they are gone afterwards, with all that they have left in Redis."""
        workers = [self._start(f"{way.name}-{number}", command) for number, command in enumerate(way.workers)]
        try:
            all_of_them = len(workers) * way.processes
            wait_until(lambda: self.done.llen(common.READY) == all_of_them, f"the workers of {way.name}")
            for _ in range(2 if way.workers else 0):  # the first one may go to one worker alone
                self.run(way, WARM_UP, workers)
            yield workers
        finally:
            self.made.stop(workers)
            for process in workers:
                self.made.processes.remove(process)
            self.made.client().flushall()

    def run(self, way: Way, items: int, workers: list[subprocess.Popen[bytes]]) -> Found:
        """One run, from the moment that somebody asks for it to the moment that its callback is called."""
        return self.timed(items, workers, lambda: self._begin(way, items))

    def timed(self, items: int, workers: list[subprocess.Popen[bytes]], begin: Callable[[], object]) -> Found:
        """What a run takes that `begin` begins. Raises SwitchyardError if it does not end, or not with all results."""
        own = os.times()
        before, supplier = sum(cpu(p) for p in workers), cpu(self.supplier)
        began = time.time()
        begin()
        answer = self._answer()
        ended, loading = time.time(), 0.0
        if said := self.done.lpop(common.BEGUN):
            began, loading = map(float, str(said).split())
        seconds = ended - began
        if answer != items:
            raise SwitchyardError(
                f"A run of {items} items ended with {answer!r} after {seconds:.0f} s; it measures nothing."
            )
        now = os.times()
        published = now.children_user + now.children_system - own.children_user - own.children_system - loading
        found = Found(seconds, sum(cpu(p) for p in workers) - before + published, cpu(self.supplier) - supplier)
        wait_until(lambda: self.made.client().hlen("unacked") == 0, "every message to be acknowledged")
        return found

    def _answer(self) -> int | None:
        """The results that the callback was called for; None if it is not called."""
        for _ in range(PATIENCE):
            if answer := self.done.blpop([common.DONE], timeout=1):  # a client waits no longer than for a few seconds
                return int(answer[1])
        return None

    def _begin(self, way: Way, items: int) -> None:
        if not way.publish:
            workflows.start(app, "bench.refresh", items=items)
        else:
            self.python(way.publish, items)

    def python(self, command: tuple[str, ...], items: int) -> str:
        """What a program prints that publishes, or does, all of it."""
        environment = {**self.made.environment, common.ITEMS: str(items)}
        done = subprocess.run(
            command, env=environment, cwd=ROOT, check=False, capture_output=True, text=True, timeout=PATIENCE
        )
        if done.returncode:
            raise SwitchyardError(f"{' '.join(command)} ended:\n{done.stderr[-2000:]}")
        return done.stdout

    def _start(self, name: str, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with (self.made.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.made.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )  # fmt: skip
        self.made.processes.append(process)
        return process


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor that a process, and all that run in its session, have had."""
    return sum(_cpu_of_session(stat, process.pid) for stat in Path("/proc").glob("[0-9]*/stat"))


def _cpu_of_session(stat: Path, session: int) -> float:
    try:
        fields = stat.read_text().rsplit(")", 1)[1].split()
    except OSError:  # it has ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if int(fields[3]) == session else 0.0


def peak(process: subprocess.Popen[bytes]) -> int:
    """Bytes that a process has had resident at most."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
