"""`make up`, `down` and `restart` on this machine: the deployment is brought to what the config says, and left alone where it is."""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path

from switchyard.errors import SwitchyardError
from switchyard.health import program_name, queue_name
from switchyard.queues import Queues
from switchyard.runtime import choice, counts, fingerprints, placeholders, preflight, readiness, secret_files, status
from switchyard.runtime.logfiles import follow as follow_files
from switchyard.runtime.logfiles import tail
from switchyard.runtime.redis_server import server_for
from switchyard.runtime.status import Row, Say
from switchyard.runtime.supervisor import DOORS, Program, Supervisor, wait_until
from switchyard.settings import Settings, given_settings

#: Seconds in which one more program must be ready: first starts on a busy machine are slow, a hang is longer.
READY_TIMEOUT = 120


def up(config: Settings, queues: Queues, say: Say) -> None:
    """Bring the deployment to what the config says and return when all of it is ready; again is safe.

    Raises SwitchyardError with the end of the log of what did not start; whatever did start keeps running.
    """
    with preflight.alone(config):
        supervisor = Supervisor(config)
        running = {p.name for p in supervisor.programs() if p.pid} if supervisor.running() else set()
        _check(config, running)
        secret_files.ensure(config)
        choice.record(config.state_dir, choice.LOCAL, insisted=config.runtime is not None)
        _start(config, queues, supervisor, say)
        _wait_until_ready(config, supervisor, say)
        counts.note_queues(config, queues)


def _check(config: Settings, running: set[str]) -> None:
    placeholders.refuse(config)
    preflight.rendered_files_are_fresh(config)
    preflight.paths_can_be_used(config)
    preflight.there_is_room(config)
    if not config.celery_broker_url:
        server_for(config)
        if "redis" not in running:
            preflight.port_is_free(config.redis_port, "REDIS_PORT")
    if "producer" not in running:
        preflight.port_is_free(config.api_port, "API_PORT")
    if "flower" not in running:
        preflight.port_is_free(config.flower_port, "FLOWER_PORT")


def _start(config: Settings, queues: Queues, supervisor: Supervisor, say: Say) -> None:
    (config.state_dir / "run").mkdir(parents=True, exist_ok=True)
    parts = ["queues", *DOORS, "flower"]
    parts += [] if config.celery_broker_url else ["redis"]
    parts += ["demo"] if config.demo else []
    _refuse_to_remove_work(config, queues)
    supervisor.write_conf(parts, lambda program: _environment(config, queues, program))
    if supervisor.running():
        supervisor.apply_conf(say)
        for program in supervisor.programs():
            if program.state in ("STOPPED", "EXITED", "FATAL") and not readiness.is_ready(config, program):
                supervisor.rpc.startProcess(program.name, False)
    else:
        say("starting supervisord")
        supervisor.start()


def _refuse_to_remove_work(config: Settings, queues: Queues) -> None:
    gone = [] if config.force else counts.removed(config, queues)
    if gone:
        counts.refuse_to_remove(gone, counts.read(gone))


def _environment(config: Settings, queues: Queues, program: str) -> dict[str, str]:
    """What a program is started with besides `.env`: this command's own settings, of queues only its own."""
    own = f"QUEUES__{queue_name(program)}__".upper()
    given = {
        k: v for k, v in given_settings().items() if not k.upper().startswith("QUEUES__") or k.upper().startswith(own)
    }
    return {**given, "SETTINGS_FINGERPRINT": fingerprints.of_program(config, queues, program)}


def _wait_until_ready(config: Settings, supervisor: Supervisor, say: Say) -> None:
    waiting: set[str] = set()
    failures: dict[str, int] = {}
    fewest, end = inf, 0.0
    while True:
        programs = supervisor.programs()
        now = {program.name for program in programs if not readiness.is_ready(config, program)}
        if len(now) < fewest:  # a slow machine is not a stuck one
            fewest, end = len(now), time.monotonic() + READY_TIMEOUT
        for name in sorted(waiting - now):
            say(f"{name} is ready")
        failed = [p for p in programs if p.name in now and _failed_for_good(p, failures)]
        waiting = now
        # Without Redis nothing else can become ready; it alone is worth a look.
        if redis := [p for p in failed if p.name == "redis"]:
            raise SwitchyardError(_what_failed(config, redis))
        if now and (now == {p.name for p in failed} or time.monotonic() > end):
            raise SwitchyardError(_what_failed(config, [p for p in programs if p.name in now]))
        if not now:
            return
        time.sleep(0.1)


def _failed_for_good(program: Program, failures: dict[str, int]) -> bool:
    """A program that is between two starts may still come up; one that is seen so for seconds will not."""
    failures[program.name] = (
        failures.get(program.name, 0) + 1 if readiness.has_failed(program) else failures.get(program.name, 0)
    )
    return failures[program.name] >= 20 or program.state == "FATAL"


def _what_failed(config: Settings, programs: list[Program]) -> str:
    lines = []
    for program in programs:
        file = log_file(config, program.name)
        lines += [f"{program.name} did not become ready ({program.state}). The end of {file}:", *tail(file, 25), ""]
    return "\n".join([*lines, "Everything else keeps running; mend this and run `make up` again."])


def down(config: Settings, say: Say) -> bool:
    """Stop everything: what takes events in first, then workers, each given its drain. False if nothing was running."""
    with preflight.alone(config):
        supervisor = Supervisor(config)
        if not supervisor.running():
            return False
        say("taking no more events in")
        supervisor.stop(DOORS)
        say("stopping workers: running tasks finish, the rest goes back to the queue")
        supervisor.stop([p.name for p in supervisor.programs() if queue_name(p.name)])
        say("stopping everything else")
        supervisor.shutdown()
        return True


def restart(config: Settings, name: str, say: Say) -> None:
    """Restart one queue's worker, or another program, and wait until it is ready. Raises SwitchyardError."""
    with preflight.alone(config):
        supervisor = running_supervisor(config)
        program = resolve(supervisor, name)
        say(f"restarting {program}")
        supervisor.restart(program)
        wait_until(
            lambda: any(p.name == program and readiness.is_ready(config, p) for p in supervisor.programs()),
            READY_TIMEOUT,
            f"{program} did not become ready; see `make logs Q={name}`.",
        )


def running_supervisor(config: Settings) -> Supervisor:
    """This deployment's supervisord. Raises SwitchyardError if it is not up."""
    supervisor = Supervisor(config)
    if not supervisor.running():
        raise SwitchyardError("The deployment is not up; run `make up`.")
    return supervisor


def resolve(supervisor: Supervisor, name: str) -> str:
    """The program of a queue, or of a name as `make ps` shows it. Raises SwitchyardError naming what there is."""
    names = [program.name for program in supervisor.programs()]
    for candidate in (program_name(name), name):
        if candidate in names:
            return candidate
    known = ", ".join(queue_name(n) or n for n in names)
    raise SwitchyardError(f"There is no queue or program {name!r} in this deployment. Expected one of: {known}.")


def is_up(config: Settings) -> bool:
    """Whether its supervisord runs."""
    return Supervisor(config).running()


def rows(config: Settings) -> tuple[list[Row], list[str]]:
    """Every program as a row, and what was kept because it could not be done. Raises SwitchyardError when the deployment is not up."""
    programs = running_supervisor(config).programs()
    # Asked once: one that hangs would be waited for queue by queue.
    found = counts.read(p.name for p in programs) if readiness.redis_answers(config) else counts.Counts()
    return [_row(config, program, found) for program in programs], status.kept(
        found.refused, found.set_aside, config.dead_letters_max
    )


def _row(config: Settings, program: Program, found: counts.Counts) -> Row:
    ready = readiness.is_ready(config, program)
    state = "ready" if ready else "starting" if program.state == "RUNNING" else program.state.lower()
    uptime = int(time.time()) - program.since if program.pid else 0
    return status.row(program.name, state, program.pid, uptime, found)


def log_lines(config: Settings, name: str | None, *, follow: bool) -> Iterator[tuple[str, str]]:
    """The last lines of one program's log or of all, each after its program's name; then, with `follow`, those that come."""
    supervisor = running_supervisor(config)
    names = [resolve(supervisor, name)] if name else [program.name for program in supervisor.programs()]
    files = {program: log_file(config, program) for program in names}
    for program, file in files.items():
        yield from ((program, line) for line in tail(file, 100 if name else 10))
    if follow:
        yield from follow_files(files)


def run_inside(config: Settings, module: str, arguments: Sequence[str]) -> int:
    """Run a Python module in this process, which reaches Redis itself; its exit code."""
    del config
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exc:
        if exc.code is None or isinstance(exc.code, int):
            return exc.code or 0
        print(exc.code, file=sys.stderr)
        return 1
    return 0


def log_file(config: Settings, program: str) -> Path:
    """The log file of a program."""
    return config.state_dir / "logs" / f"{program}.log"
