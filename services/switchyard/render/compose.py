"""Queues in, Compose services out: one container per queue, and the overlay that develops in them."""

from __future__ import annotations

from collections.abc import Iterable

from switchyard.health import program_name
from switchyard.queue import Queue
from switchyard.queues import Queues

#: Bytes of a container besides its queue's `memory`: supervisord, and what the kernel counts.
OVERHEAD = 64 * 1024**2

HEADER = "# Rendered from config/queues.toml by `make render`; edits here are lost.\n"

QUEUES_HEAD = (
    HEADER
    + """\
# One container per queue. They differ in QUEUE, in how long a stop may take, and in their limits; all else is in queues.toml.
services:
"""
)

QUEUE = """\
  {program}:
    extends: {{file: worker.yml, service: worker}}
    environment:
      QUEUE: "{queue}"
      # Seconds from SIGTERM to SIGKILL inside; the container itself is given more, so that Docker never comes first.
      STOP_WAIT: "{stop_wait}"
    env_file:
      - {{path: "${{STATE_DIR:-../.switchyard}}/containers/{program}.env", required: false}}
    stop_grace_period: {stop_grace}s
    mem_limit: {memory}m
    cpus: {cpus:g}
"""

DEV_HEAD = (
    HEADER
    + """\
# An overlay for developing: code is mounted, and a change restarts what runs it, whose running tasks finish first.
# COMPOSE_FILE=docker-compose.yml:compose/dev.yml in .env, then `make up`.
services:
"""
)

DEV = """\
  {program}:
    command: ["watchfiles", "--sigint-timeout", "{stop_wait}", "python -m {module}", "/app/services"]
    volumes: ["./services:/app/services:ro"]
"""

# The one service that builds the image which all of them have; and single commands, which run what the workers run.
DEV_TOOLS = """\
  tools:
    volumes: ["./services:/app/services:ro"]
"""
DEV_BUILD = """\
    build: {target: dev}
"""

#: What runs our own code besides the workers: seconds its stop may take, and its module.
PROGRAMS = {name: (15, f"switchyard {name}") for name in ("producer", "consumer", "clock")}


def queues(found: Queues) -> str:
    """compose/queues.yml."""
    return QUEUES_HEAD + "\n".join(map(_queue, found.by_name.values()))


def _queue(queue: Queue) -> str:
    return QUEUE.format(
        program=program_name(queue.name), queue=queue.name, stop_wait=queue.stop_wait, stop_grace=queue.stop_grace,
        memory=(queue.memory + OVERHEAD) // 1024**2, cpus=queue.cpus,
    )  # fmt: skip


def dev(found: Queues) -> str:
    """compose/dev.yml."""
    return DEV_HEAD + "\n".join(_dev(found))


def _dev(found: Queues) -> Iterable[str]:
    for name, (stop_wait, module) in PROGRAMS.items():
        build = DEV_BUILD if name == "producer" else ""
        yield DEV.format(program=name, stop_wait=stop_wait, module=module) + build
    yield DEV_TOOLS
    for queue in found.by_name.values():
        yield DEV.format(program=program_name(queue.name), stop_wait=queue.stop_wait, module="switchyard worker")
