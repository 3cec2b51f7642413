"""A queue's settings in, its Celery worker out: this process becomes it. One command for every queue; the environment differs."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from switchyard.broker.server import check_broker
from switchyard.errors import ConfigError
from switchyard.queue import Queue
from switchyard.queues import Queues
from switchyard.settings import Settings, add_to_environment, environment


def worker_environment(queue: Queue, node_host: str = "%h") -> dict[str, str]:
    """What Celery's command line reads for this queue: each of its options from CELERY_WORKER_<OPTION>.

    `node_host` follows the @ in the worker's name; %h is the machine's.
    """
    slots = (
        {"AUTOSCALE": "{},{}".format(*queue.autoscale)} if queue.autoscale else {"CONCURRENCY": str(queue.concurrency)}
    )
    options = {
        "QUEUES": queue.name,
        "HOSTNAME": f"{queue.name}@{node_host}",
        "LOGLEVEL": queue.log_level,
        "OPTIMIZATION": "fair",
        "TIME_LIMIT": str(queue.time_limit),
        # Each costs connections and a second at every start; nothing here reads what they say.
        "WITHOUT_GOSSIP": "1",
        "WITHOUT_MINGLE": "1",
        **slots,
    }
    if queue.events:
        options["TASK_EVENTS"] = "1"
    if queue.pool == "prefork":
        # A child that has grown beyond its share is replaced after its task; in KiB.
        options["MAX_MEMORY_PER_CHILD"] = str(queue.memory // 1024 // queue.slots)
    return {f"CELERY_WORKER_{option}": value for option, value in options.items()}


def become_worker(config: Settings, queues: Queues) -> None:
    """Be the Celery worker of `config.queue` from here on. Raises ConfigError for what cannot start."""
    if not config.queue:
        raise ConfigError("QUEUE is not set; it names the queue this worker consumes.")
    if not config.celery_app:
        raise ConfigError(
            "CELERY_APP is not set; it names your Celery app, such as proj.celery:app. It belongs in .env."
        )
    queue = queues[config.queue]
    if queue.green and find_spec(queue.pool) is None:
        raise ConfigError(f"queues.{queue.name}.pool: {queue.pool!r} is not installed; add it to your requirements.")
    if config.broker_transport == "leased":
        check_broker(config.broker_url())
    # The pool goes on the command line: only there is it seen early enough for monkey patching.
    arguments = ["-q", "-A", config.celery_app, "worker", "-P", queue.pool]
    _become(arguments, worker_environment(queue, config.node_host or "%h"), fresh=queue.green)


def _become(arguments: list[str], options: dict[str, str], *, fresh: bool) -> None:
    """Celery's command line. A green library patches an interpreter in which nothing is loaded yet, so it gets a `fresh` one; any other
    pool goes on in this one, which has loaded by now a third of what a worker needs.
    """
    if fresh:
        command = [sys.executable, "-m", "celery", *arguments]
        os.execve(sys.executable, command, {**environment(), **options})  # noqa: S606  no shell: this process becomes the worker
    from celery.bin.celery import celery  # noqa: PLC0415  not before a fresh interpreter is out of the question

    add_to_environment(options)
    sys.argv = ["celery", *arguments]
    celery(prog_name="celery", auto_envvar_prefix="CELERY")
