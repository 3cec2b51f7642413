"""`make up`, `down`, `restart` and `logs` in Docker: the containers are brought to what the config says, and left alone where they are."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from switchyard.errors import SwitchyardError
from switchyard.health import program_name, queue_name
from switchyard.queues import Queues
from switchyard.runtime import choice, placeholders, preflight
from switchyard.runtime.counts import Counts, refuse_to_remove
from switchyard.runtime.docker import acl, base_images, folders, requirements
from switchyard.runtime.docker.compose import Compose, Container
from switchyard.runtime.logfiles import readable
from switchyard.runtime.status import Row, Say
from switchyard.runtime.supervisor import DOORS
from switchyard.settings import ROOT, Settings, environment, secret_names

#: Seconds until everything must be ready, once there are images and what changes has stopped.
READY_TIMEOUT = 240
#: Seconds between two looks; and looks at nothing but failures after which there is no more to wait for.
LOOK, HOPELESS = 0.3, 60
#: Ended for good, and well.
_ONE_SHOT = ("seed",)
#: Settings that containers have of their own.
_OF_CONTAINERS = {"API_TOKENS_FILE", "ARTEFACTS_DIR", "ARTEFACTS_HOST_DIR", "CONFIG_DIR", "LISTEN_ADDRESS", "NODE_HOST", "RUNTIME",
                  "STATE_DIR", "SUPPLIER_HOST", "SUPPLIER_PORT"}  # fmt: skip


def up(config: Settings, queues: Queues, say: Say) -> None:
    """Bring the containers to what the config says and return when all are ready; again is safe.

    Raises SwitchyardError with the last lines of what did not become ready; whatever did keeps running.
    """
    with preflight.alone(config):
        compose = Compose(config)
        requirements.check(config, queues)
        before = compose.containers()
        # Of queues that are in no file any more, and of profiles that are not wanted any more.
        gone = [container for container in before if container.service not in compose.model["services"]]
        _check(config, compose, before, gone)
        users_changed = folders.write(config, queues)
        choice.record(config.state_dir, choice.DOCKER, insisted=config.runtime is not None)
        _build(config, compose, say)
        if users_changed and any(c.service == "redis" and c.state == "running" for c in before):
            _let_roles_use(compose, queues)
        if gone:
            say(f"removing {', '.join(container.service for container in gone)}")
            compose.remove(gone)
        _start(compose, READY_TIMEOUT + max(queue.stop_grace for queue in queues.by_name.values()), say)


def _check(config: Settings, compose: Compose, before: Sequence[Container], gone: Sequence[Container]) -> None:
    placeholders.refuse(config)
    preflight.rendered_files_are_fresh(config)
    running = {container.service for container in before if container.state == "running"}
    if "producer" not in running:
        preflight.port_is_free(config.api_port, "API_PORT")
    if "flower" not in running:
        preflight.port_is_free(config.flower_port, "FLOWER_PORT")
    if workers := sorted(container.service for container in gone if queue_name(container.service)):
        refuse_to_remove(workers, counts(compose, before, workers), force=config.force)


def _build(config: Settings, compose: Compose, say: Say) -> None:
    base_images.ensure(say, [name for name in base_images.IMAGES if name in (config.python_image, config.redis_image)])
    say("building the images (a first time takes a few minutes)")
    # The build shows its own progress on a terminal; in a pipe its words are wanted only if it fails.
    if sys.stdout.isatty():
        if compose.call("build"):
            raise SwitchyardError("The images could not be built; the reason is above.")
    else:
        compose.read("--progress", "plain", "build", timeout_s=1800)


def _let_roles_use(compose: Compose, queues: Queues) -> None:
    """Have a Redis that runs let its users use new queues; it reads its users' file when it starts."""
    for role, rules in acl.additions(queues.by_name).items():
        command = f"REDISCLI_AUTH=$(cat /run/switchyard/admin_password) redis-cli --user admin ACL SETUSER {role} {shlex.join(rules)}"
        if (said := compose.read("exec", "-T", "redis", "sh", "-c", command).strip()) != "OK":
            raise SwitchyardError(f"Redis does not let {role} use the queues: {said}")


def _start(compose: Compose, patience_s: float, say: Say) -> None:
    """Bring the containers up; `patience_s` holds the stop of those that change, and the start of all."""
    # Compose itself waits only for what others depend on; it would wait for ever for one that fails again and again.
    starting = compose.start("up", "--detach")
    waiting: set[str] | None = None
    hopeless, end = 0, time.monotonic() + patience_s
    try:
        while True:
            containers = compose.containers()
            now = {container.service for container in containers if not is_ready(container)}
            for service in sorted((waiting or set()) - now):
                say(f"{service} is ready")
            waiting, code = now, starting.poll()
            if code == 0 and containers and not now:
                return
            failed = [container for container in containers if has_failed(container)]
            hopeless = hopeless + 1 if failed and now == {container.service for container in failed} else 0
            if code or hopeless > HOPELESS or time.monotonic() > end:
                raise SwitchyardError(
                    _what_failed(compose, [c for c in containers if c.service in now], starting if code else None)
                )
            time.sleep(LOOK)
    finally:
        starting.kill()
        starting.wait()


def is_ready(container: Container) -> bool:
    """Whether its probe says so; a job, whether it has ended well."""
    if container.service in _ONE_SHOT:
        return container.state == "exited" and container.exit_code == 0
    return container.state == "running" and container.health == "healthy"


def has_failed(container: Container) -> bool:
    """Whether it ended when it should not, or does not do its work."""
    ended = container.state in ("exited", "dead", "restarting") and container.exit_code != 0
    return ended or container.health == "unhealthy"


def _what_failed(compose: Compose, failed: Sequence[Container], starting: subprocess.Popen[str] | None) -> str:
    lines = starting.stdout.read().splitlines()[-15:] if starting and starting.stdout else []
    for container in failed:
        probe = f": {container.said}" if container.said else ""
        lines.append(
            f"{container.service} did not become ready ({container.health or container.state}{probe}). Its last lines:"
        )
        lines += [readable(line) for _, line in _log_lines(compose, [container.service], 25)] + [""]
    return "\n".join([*lines, "Everything else keeps running; mend this and run `make up` again."])


def down(config: Settings, say: Say) -> bool:
    """Stop everything: what takes events in first, then workers, each given its drain. False if nothing was there."""
    with preflight.alone(config):
        compose = Compose(config)
        found = compose.containers()
        if not found:
            return False
        there = {container.service for container in found}
        _stop(compose, sorted(there & set(DOORS)), "taking no more events in", say)
        workers = sorted(service for service in there if queue_name(service))
        _stop(compose, workers, "stopping workers: running tasks finish, the rest goes back to the queue", say)
        say("stopping everything else")
        # Of every profile, and of queues that are in no file any more. The volumes stay.
        compose.read("--profile", "*", "down", "--remove-orphans", timeout_s=600)
        return True


def _stop(compose: Compose, services: Sequence[str], text: str, say: Say) -> None:
    if services := [service for service in services if service in compose.model["services"]]:
        say(text)
        compose.read("stop", *services, timeout_s=3600)


def restart(config: Settings, name: str, say: Say) -> None:
    """Restart one queue's worker, or another service, and wait until it is ready. Raises SwitchyardError."""
    with preflight.alone(config):
        compose = Compose(config)
        service = resolve(compose, name)
        say(f"restarting {service}")
        compose.read("restart", service, timeout_s=3600)
        end = time.monotonic() + READY_TIMEOUT
        while not any(is_ready(c) for c in compose.containers() if c.service == service):
            if time.monotonic() > end:
                raise SwitchyardError(f"{service} did not become ready; see `make logs Q={name}`.")
            time.sleep(0.3)


def is_up(config: Settings) -> bool:
    """Whether anything of it runs."""
    return any(container.state == "running" for container in Compose(config).containers())


def resolve(compose: Compose, name: str) -> str:
    """The service of a queue, or of a name as `make ps` shows it. Raises SwitchyardError naming what there is."""
    names = [container.service for container in compose.containers()]
    if not names:
        raise SwitchyardError("The deployment is not up; run `make up`.")
    for candidate in (program_name(name), name):
        if candidate in names:
            return candidate
    known = ", ".join(queue_name(n) or n for n in names)
    raise SwitchyardError(f"There is no queue or program {name!r} in this deployment. Expected one of: {known}.")


def rows(config: Settings) -> tuple[list[Row], int]:
    """Every container as a row, and how many refused events are kept. Raises SwitchyardError when the deployment is not up."""
    compose = Compose(config)
    containers = compose.containers()
    if not containers:
        raise SwitchyardError("The deployment is not up; run `make up`.")
    found = counts(compose, containers, [container.service for container in containers])
    return [_row(container, found) for container in containers], found.refused


def _row(container: Container, found: Counts) -> Row:
    state = "ready" if is_ready(container) else container.health or container.state
    uptime = int(time.time()) - container.since if container.pid else 0
    return Row(container.service, state, container.pid, uptime, found.waiting.get(container.service))


def counts(compose: Compose, containers: Sequence[Container], services: Sequence[str]) -> Counts:
    """What waits and runs, asked in a worker's container: Redis is reached from nowhere else."""
    for container in containers:
        if queue_name(container.service) and container.state == "running":
            try:
                said = compose.read(
                    "exec", "-T", container.service, "python", "-m", "switchyard", "counts", *services, timeout_s=30
                )
            except SwitchyardError:
                continue
            return Counts.from_json(said.splitlines()[-1])
    return Counts()


def log_lines(config: Settings, name: str | None, *, follow: bool) -> Iterator[tuple[str, str]]:
    """The last lines of one service or of all, each after its service's name; then, with `follow`, those that come."""
    compose = Compose(config)
    services = [resolve(compose, name)] if name else sorted(container.service for container in compose.containers())
    if not services:
        raise SwitchyardError("The deployment is not up; run `make up`.")
    yield from (
        (service, readable(line)) for service, line in _log_lines(compose, services, 100 if name else 10, follow=follow)
    )


def _log_lines(
    compose: Compose, services: Sequence[str], lines: int, *, follow: bool = False
) -> Iterator[tuple[str, str]]:
    with compose.start(
        "logs", "--no-color", f"--tail={lines}", *(["--follow"] if follow else []), *services
    ) as reading:
        try:
            for line in reading.stdout or ():
                prefix, _, text = line.rstrip("\n").partition("|")
                yield re.sub(r"-\d+ *$", "", prefix), text.removeprefix(" ")
        finally:
            reading.terminate()


def run_inside(config: Settings, module: str, arguments: Sequence[str]) -> int:
    """Run a Python module in a container of its own, and bring reports' files to this machine; its exit code.

    A file of this machine among the arguments is there as well, to be read.
    """
    compose = Compose(config)
    mounts: list[str] = []
    inside: list[str] = []
    for argument in arguments:
        file = Path(argument)
        if file.is_file():
            mounts += ["--volume", f"{file.resolve()}:/mnt/{file.name}:ro"]
        inside.append(f"/mnt/{file.name}" if file.is_file() else argument)
    terminal = [] if sys.stdin.isatty() and sys.stdout.isatty() else ["-T"]
    given = [part for name in _given() for part in ("--env", name)]
    code = compose.call(
        "run", "--rm", "--no-deps", *terminal, *given, *mounts, "tools", "python", "-m", module, *inside
    )
    _fetch_artefacts(config, compose)
    return code


def _given() -> list[str]:
    """The settings of .env.example that this command was given, such as `make demo SUPPLIER_FAILURE_RATE=0.01`.

    No addresses: they are a container's own, and may hold a password, which `docker inspect` would show.
    """
    known = set(re.findall(r"^#?([A-Z][A-Z_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    not_theirs = _OF_CONTAINERS | {secret.upper() for secret in secret_names(Settings)}
    theirs = {name for name in known - not_theirs if not name.startswith("COMPOSE_") and not name.endswith("_URL")}
    return sorted(theirs & environment().keys())


def _fetch_artefacts(config: Settings, compose: Compose) -> None:
    """Copy reports' files out of their volume to where they were said to be; none are there before the first report."""
    config.artefacts_dir.mkdir(parents=True, exist_ok=True)
    if any(container.service == "producer" for container in compose.containers()):
        compose.read("cp", "producer:/var/lib/switchyard/artefacts/.", str(config.artefacts_dir))
