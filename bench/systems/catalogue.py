"""The systems there are, each with its ways to run workers. Each has a database of its own, so that several may run at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import redis
from bench.systems.system import OURS, PEERS, STOCK, System

#: Celery's pools: the slots of a worker, and how many messages a slot may hold, the one that runs included.
POOLS = {"solo": (1, 64), "threads": (8, 8), "prefork": (2, 32), "gevent": (100, 2)}
AT_LEAST_ONCE, AT_MOST_ONCE = "at least once", "at most once"
#: kombu pops a message and records it in two commands.
UNLESS_KILLED = "at least once, but between two commands"


def everybody(workers: int = 2) -> list[System]:
    """All, ours first, with so many worker processes each; prefork has two children of one worker."""
    return [*(ours(pool, workers) for pool in POOLS), *(stock(pool, workers) for pool in POOLS), *peers(workers)]


def ours(pool: str, workers: int) -> System:
    """As a deployment runs it."""
    slots, prefetch = POOLS[pool]
    return System(
        OURS,
        _way(pool, workers),
        "bench.systems.ours",
        ((sys.executable, "-m", "switchyard", "worker"),) * _workers(pool, workers),
        AT_LEAST_ONCE,
        0,
        lambda client: _celerys(client, "default"),
        environment={"CELERY_APP": "bench.systems.ours", "QUEUE": "default", "CELERY_RESULT_BACKEND": "disabled://"},
        toml=f'[queues.default]\ntasks = ["*"]\npool = "{pool}"\nconcurrency = {slots}\nprefetch = {prefetch}\nlog_level = "WARNING"\n',
    )


def stock(pool: str, workers: int) -> System:
    """Celery's own, with the same slots."""
    slots, prefetch = POOLS[pool]
    command = (
        sys.executable, "-m", "celery", "-q", "-A", "bench.systems.stock", "worker", "-P", pool, "-c", str(slots), "-l", "WARNING",
        "-O", "fair", "--prefetch-multiplier", str(prefetch), "--without-gossip", "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    return System(
        STOCK,
        _way(pool, workers),
        "bench.systems.stock",
        tuple((*command, "-n", f"stock{number}@bench") for number in range(_workers(pool, workers))),
        UNLESS_KILLED,
        2,
        lambda client: _celerys(client, "celery"),
    )


def peers(workers: int) -> Iterator[System]:
    """Those of requirements/peers.txt."""
    for program, threads, database in (("dramatiq", 8, 3), ("dramatiq-gevent", 100, 4)):
        options = (f"-p{workers}", f"-t{threads}")
        yield System(
            "dramatiq",
            " ".join([*(["gevent"] if "gevent" in program else []), *options]),
            "bench.systems.dramatiq_tasks",
            ((str(PEERS / program), *options, "bench.systems.dramatiq_tasks"),),
            AT_LEAST_ONCE,
            database,
            lambda client: int(client.hlen("dramatiq:default.msgs")),
            python=_PYTHON,
        )
    for kind, delivery, left, database in (("stream", AT_LEAST_ONCE, _streams, 5), ("list", AT_MOST_ONCE, _lists, 6)):
        command = (_PYTHON, "-m", "taskiq", "worker", "bench.systems.taskiq_tasks:broker", "-w", str(workers))
        yield System(
            "taskiq",
            f"{kind} -w{workers}",
            "bench.systems.taskiq_tasks",
            ((*command, "--log-level", "WARNING"),),
            delivery,
            database,
            left,
            python=_PYTHON,
            environment={"BENCH_TASKIQ": kind},
        )
    command = (_PYTHON, "-m", "huey.bin.huey_consumer", "bench.systems.huey_tasks.huey", "-w", "8", "-k", "thread")
    yield System(
        "huey",
        "8 threads" + _times(workers),
        "bench.systems.huey_tasks",
        ((*command, "-q", "-n"),) * workers,
        AT_MOST_ONCE,
        7,
        lambda client: int(client.llen("huey.redis.bench")),
        python=_PYTHON,
    )


_PYTHON = str(PEERS / "python")


def _workers(pool: str, workers: int) -> int:
    return 1 if pool == "prefork" else workers


def _way(pool: str, workers: int) -> str:
    return f"{pool} -c {POOLS[pool][0]}{_times(_workers(pool, workers))}"


def _times(workers: int) -> str:
    return f" × {workers}" if workers > 1 else ""


def _celerys(client: redis.Redis, queue: str) -> int:
    return int(client.llen(queue)) + int(client.hlen("unacked"))


def _streams(client: redis.Redis) -> int:
    group = next(iter(client.xinfo_groups("taskiq")), {})
    return int(group.get("pending") or 0) + int(group.get("lag") or 0)


def _lists(client: redis.Redis) -> int:
    return int(client.llen("taskiq"))
