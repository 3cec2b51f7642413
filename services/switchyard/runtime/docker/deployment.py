"""`make up`, `down`, `restart` and `logs` in Docker: the containers are brought to what the config says, and left alone where they are."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from switchyard.errors import RuntimeRefusal, SwitchyardError
from switchyard.health import program_name, queue_name
from switchyard.queues import Queues
from switchyard.runtime import choice, placeholders, preflight, status
from switchyard.runtime import counts as counts_of
from switchyard.runtime.counts import Counts
from switchyard.runtime.docker import acl, base_images, folders, requirements
from switchyard.runtime.docker.compose import Compose, Container, docker
from switchyard.runtime.docker.inside import run_inside
from switchyard.runtime.logfiles import readable
from switchyard.runtime.status import Row, Say
from switchyard.runtime.supervisor import DOORS
from switchyard.settings import ROOT, Settings

__all__ = ["down", "is_up", "log_lines", "restart", "rows", "run_inside", "up"]

#: Seconds until everything must be ready, once there are images and what changes has stopped.
READY_TIMEOUT = 240
#: Seconds between two looks; and looks at nothing but failures after which there is no more to wait for.
LOOK, HOPELESS = 0.3, 60
#: Ended for good, and well.
_ONE_SHOT = ("seed",)


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
        _check(config, queues, compose, before, gone)
        folders.write(config, queues)
        choice.record(config.state_dir, choice.DOCKER, insisted=config.runtime is not None)
        _build(config, compose, say)
        if any(c.service == "redis" and c.state == "running" for c in before):
            _let_roles_use(compose, queues)
        if gone:
            say(f"removing {', '.join(container.service for container in gone)}")
            compose.remove(gone)
        _start(compose, before, READY_TIMEOUT + max(queue.stop_grace for queue in queues.by_name.values()), say)
        counts_of.note_queues(config, queues)


def _check(
    config: Settings, queues: Queues, compose: Compose, before: Sequence[Container], gone: Sequence[Container]
) -> None:
    _refuse_anothers(compose, before)
    placeholders.refuse(config)
    preflight.rendered_files_are_fresh(config)
    running = {container.service for container in before if container.state == "running"}
    if "producer" not in running:
        preflight.port_is_free(config.api_port, "API_PORT")
    if "flower" not in running:
        preflight.port_is_free(config.flower_port, "FLOWER_PORT")
    workers = {container.service for container in gone if queue_name(container.service)}
    workers |= set(counts_of.removed(config, queues))
    if workers and not config.force:
        counts_of.refuse_to_remove(sorted(workers), counts(before, sorted(workers)))


def _refuse_anothers(compose: Compose, containers: Sequence[Container]) -> None:
    if others := {c.folder for c in containers} - {str(ROOT)}:
        raise RuntimeRefusal(
            f"The containers of the project {compose.model['name']!r} belong to {others.pop()}; this is {ROOT}. "
            "Set COMPOSE_PROJECT_NAME in .env to a name of its own."
        )


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
    rules = acl.additions(queues.by_name)
    command = "export REDISCLI_AUTH=$(cat /run/switchyard/admin_password)" + "".join(
        f"; redis-cli --user admin ACL SETUSER {role} {shlex.join(added)}" for role, added in rules.items()
    )
    said = compose.read("exec", "-T", "redis", "sh", "-c", command).split("\n")
    if said[:-1] != ["OK"] * len(rules):
        raise SwitchyardError(f"Redis does not let its users use the queues: {' '.join(said)}")


def _start(compose: Compose, before: Sequence[Container], patience_s: float, say: Say) -> None:
    """Bring the containers up; `patience_s` holds the stop of those that change, and the start of all."""
    # Compose itself waits only for what others depend on; it would wait for ever for one that fails again and again.
    starting = compose.start("up", "--detach")
    old = {container.id for container in before}
    waiting: set[str] | None = None
    hopeless, end = 0, time.monotonic() + patience_s
    try:
        while True:
            code = starting.poll()  # before the look: what Compose has done by then is seen
            containers = compose.containers()
            now = {container.service for container in containers if not is_ready(container)}
            for service in sorted((waiting or set()) - now):
                say(f"{service} is ready")
            waiting = now
            if code == 0 and containers and not now:
                return
            # One that is still there from before may be about to be replaced, and take its time to stop.
            failed = [c for c in containers if has_failed(c) and (code is not None or c.id not in old)]
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
        _refuse_anothers(compose, found)
        say("taking no more events in")
        compose.stop([container for container in found if container.service in DOORS])
        say("stopping workers: running tasks finish, the rest goes back to the queue")
        compose.stop([container for container in found if queue_name(container.service)])
        say("stopping everything else")
        # Of every profile, and of queues that are in no file any more. The volumes stay.
        compose.read("--profile", "*", "down", "--remove-orphans", timeout_s=600)
        return True


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


def rows(config: Settings) -> tuple[list[Row], list[str]]:
    """Every container as a row, and what was kept because it could not be done. Raises SwitchyardError when the deployment is not up."""
    compose = Compose(config)
    containers = compose.containers()
    if not containers:
        raise SwitchyardError("The deployment is not up; run `make up`.")
    found = counts(containers, [container.service for container in containers])
    return [_row(container, found) for container in containers], status.kept(
        found.refused, found.set_aside, config.dead_letters_max
    )


def _row(container: Container, found: Counts) -> Row:
    state = "ready" if is_ready(container) else container.health or container.state
    uptime = int(time.time()) - container.since if container.pid else 0
    return status.row(container.service, state, container.pid, uptime, found)


def counts(containers: Sequence[Container], services: Sequence[str]) -> Counts:
    """What waits and runs, asked in a worker's container: Redis is reached from nowhere else. Nothing while no worker runs."""
    for container in containers:
        if queue_name(container.service) and container.state == "running":
            try:
                said = docker("exec", container.id, "python", "-m", "switchyard", "counts", *services)
            except SwitchyardError:
                continue
            return Counts.from_json(said.splitlines()[-1])
    return Counts()


def log_lines(config: Settings, name: str | None, *, follow: bool) -> Iterator[tuple[str, str]]:
    """The last lines of one service or of all, each after its service's name; then, with `follow`, those that come."""
    compose = Compose(config)
    there = sorted(container.service for container in compose.containers())
    # Compose shows the logs of services that are in its files only.
    services = (
        [resolve(compose, name)] if name else [service for service in there if service in compose.model["services"]]
    )
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
