"""The drill in which a supervisor is killed outright, and with it every worker it has: the whole machine, as far as Redis can tell."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from bench.drills.kind import Options
from bench.drills.ledger import Kill
from bench.drills.load import Load
from bench.drills.outcome import Outcome
from bench.drills.site import BATCH, SLOTS, Site
from bench.workers import wait_until
from tests.support import alive

from switchyard.health import is_ready, program_name, ready_file
from switchyard.settings import ROOT

#: As rendered for a local deployment, without its log files: config/supervisor/queues.conf.
SUPERVISOR = "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={folder}/supervisord.pid\n"
PROGRAM = """
[program:worker-{queue}]
command="{python}" -m switchyard worker
directory={root}
environment=QUEUE="{queue}",STATE_DIR="{folder}/supervised-{queue}"
startsecs=2
autorestart=true
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={folder}/{queue}.log
stdout_logfile_maxbytes=0
"""


def supervisor(site: Site, options: Options) -> list[Outcome]:
    """Kill a supervisor with all its workers; the next one starts them anew, and no other worker lives meanwhile."""
    running = _start(site, options)
    with Load(site, options.pools):
        for number in range(options.rounds):
            site.say(f"kill {number + 1} of {options.rounds}")
            pids = {pool: _ready(site, pool, running) for pool in options.pools}
            for pool, pid in pids.items():
                wait_until(partial(site.ledger.running, pid), f"a task of {pool} to be begun")
            at = time.monotonic()
            running.kill()
            running.wait()
            site.kills += [Kill(pool, pid, at) for pool, pid in pids.items()]
            for pid in pids.values():
                wait_until(partial(_gone, pid), "a worker to end with its supervisor")
            running = _start(site, options)
    site.drain()
    outcomes = [site.outcome("supervisor", pool) for pool in options.pools]
    for outcome in outcomes:
        outcome.bound = outcome.blows * (SLOTS[outcome.pool] + BATCH)
        outcome.lose_nothing()
        outcome.must(outcome.set_aside == 0, f"{outcome.set_aside} tasks were set aside that any worker could run")
    running.kill()
    running.wait()
    return outcomes


def _gone(pid: int) -> bool:
    return not alive(pid)


def _start(site: Site, options: Options) -> subprocess.Popen[bytes]:
    programs = [
        PROGRAM.format(queue=pool, python=sys.executable, root=ROOT, folder=site.folder) for pool in options.pools
    ]
    config = site.folder / "supervisord.conf"
    config.write_text(SUPERVISOR.format(folder=site.folder) + "".join(programs))
    for pool in options.pools:
        site.workers[pool]  # its queue is one to look into, though its workers are the supervisor's
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    with (site.folder / "supervisord.log").open("ab") as log:
        return subprocess.Popen(command, env=site.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def _ready(site: Site, pool: str, running: subprocess.Popen[bytes]) -> int:
    """The pid of a pool's worker, once it consumes."""
    state, name = site.folder / f"supervised-{pool}", program_name(pool)
    dead = {kill.worker for kill in site.kills}

    def pid() -> int:
        try:
            found = int(ready_file(state, name).read_text())
        except (OSError, ValueError):
            return 0
        return 0 if found in dead or not is_ready(state, name, found) else found

    wait_until(lambda: pid() or running.poll() is not None, f"the worker of {pool} to be ready")
    return pid()
