"""The systems there are, each with its ways to run two worker processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import redis
from bench.systems.system import OURS, PEERS, STOCK, System

#: Celery's pools: how many workers of it make two processes, the slots of each, and how many messages a slot may hold.
POOLS = {"solo": (2, 1, 64), "threads": (2, 8, 8), "prefork": (1, 2, 32), "gevent": (2, 100, 2)}
AT_LEAST_ONCE, AT_MOST_ONCE = "at least once", "at most once"
#: kombu pops a message and records it in two commands.
UNLESS_KILLED = "at least once, but between two commands"


def celery(pool: str) -> Iterator[System]:
    """Ours and Celery's own on one pool, with the same slots."""
    workers, slots, prefetch = POOLS[pool]
    way = f"{pool} -c {slots}" + (f" × {workers}" if workers > 1 else "")
    yield System(
        OURS,
        way,
        "bench.systems.ours",
        ((sys.executable, "-m", "switchyard", "worker"),) * workers,
        AT_LEAST_ONCE,
        lambda client: _celerys(client, "default"),
        environment={"CELERY_APP": "bench.systems.ours", "QUEUE": "default", "CELERY_RESULT_BACKEND": "disabled://"},
        toml=f'[queues.default]\ntasks = ["*"]\npool = "{pool}"\nconcurrency = {slots}\nprefetch = {prefetch}\nlog_level = "WARNING"\n',
    )
    command = (
        sys.executable, "-m", "celery", "-q", "-A", "bench.systems.stock", "worker", "-P", pool, "-c", str(slots), "-l", "WARNING",
        "-O", "fair", "--prefetch-multiplier", str(prefetch), "--without-gossip", "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    yield System(
        STOCK,
        way,
        "bench.systems.stock",
        tuple((*command, "-n", f"stock{number}@bench") for number in range(workers)),
        UNLESS_KILLED,
        lambda client: _celerys(client, "celery"),
    )


def peers() -> Iterator[System]:
    """Those of requirements/peers.txt."""
    python = str(PEERS / "python")
    for program, way in (("dramatiq", ("-p2", "-t8")), ("dramatiq-gevent", ("-p2", "-t100"))):
        command = (str(PEERS / program), *way, "bench.systems.dramatiq_tasks")
        yield System(
            "dramatiq",
            " ".join([*(["gevent"] if "gevent" in program else []), *way]),
            "bench.systems.dramatiq_tasks",
            (command,),
            AT_LEAST_ONCE,
            lambda client: int(client.hlen("dramatiq:default.msgs")),
            python=python,
        )
    for kind, delivery in (("stream", AT_LEAST_ONCE), ("list", AT_MOST_ONCE)):
        yield System(
            "taskiq",
            f"{kind} -w2",
            "bench.systems.taskiq_tasks",
            (
                (
                    python,
                    "-m",
                    "taskiq",
                    "worker",
                    "bench.systems.taskiq_tasks:broker",
                    "-w",
                    "2",
                    "--log-level",
                    "WARNING",
                ),
            ),
            delivery,
            _streams if kind == "stream" else lambda client: int(client.llen("taskiq")),
            python=python,
            environment={"BENCH_TASKIQ": kind},
        )
    yield System(
        "huey",
        "8 threads × 2",
        "bench.systems.huey_tasks",
        (
            (
                python,
                "-m",
                "huey.bin.huey_consumer",
                "bench.systems.huey_tasks.huey",
                "-w",
                "8",
                "-k",
                "thread",
                "-q",
                "-n",
            ),
        )
        * 2,
        AT_MOST_ONCE,
        lambda client: int(client.llen("huey.redis.bench")),
        python=python,
    )


def everybody() -> list[System]:
    """All, ours first."""
    both = [system for pool in POOLS for system in celery(pool)]
    return [*(s for s in both if s.ours), *(s for s in both if not s.ours), *peers()]


def _celerys(client: redis.Redis, queue: str) -> int:
    return int(client.llen(queue)) + int(client.hlen("unacked"))


def _streams(client: redis.Redis) -> int:
    group = next(iter(client.xinfo_groups("taskiq")), {})
    return int(group.get("pending") or 0) + int(group.get("lag") or 0)
