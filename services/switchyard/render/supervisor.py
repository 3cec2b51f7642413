"""Queues in, supervisor programs out: one worker per queue."""

from __future__ import annotations

from switchyard.health import program_name
from switchyard.queue import Queue
from switchyard.queues import Queues

HEADER = """\
; Rendered from config/queues.toml by `make render`; edits here are lost.
; One program per queue. They differ in QUEUE and in how long a stop may take; all else is in queues.toml.
"""

# SIGTERM goes to the worker's main process alone: sent to the whole group it would kill prefork children in mid-task.
# The kill after stopwaitsecs does go to the group, or children would outlive their parent.
PROGRAM = """
[program:{program}]
command="%(ENV_PYTHON)s" -m switchyard worker
environment=QUEUE="{queue}"
priority=100
startsecs=2
autorestart=true
stopsignal=TERM
stopasgroup=false
stopwaitsecs={stop_wait}
killasgroup=true
redirect_stderr=true
stdout_logfile=%(ENV_STATE_DIR)s/logs/{program}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=3
"""


def programs(queues: Queues) -> str:
    """config/supervisor/queues.conf."""
    return HEADER + "".join(_program(queue) for queue in queues.by_name.values())


def _program(queue: Queue) -> str:
    return PROGRAM.format(program=program_name(queue.name), queue=queue.name, stop_wait=queue.stop_wait)
