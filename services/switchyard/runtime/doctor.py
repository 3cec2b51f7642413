"""`make doctor`: what `make up` would refuse or what would surprise later, looked at without changing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from switchyard.errors import SwitchyardError
from switchyard.queues import Queues
from switchyard.routing import current_queues
from switchyard.runtime import choice, placeholders, preflight, redis_server, runtime, status
from switchyard.runtime.docker import base_images, requirements
from switchyard.settings import Settings

#: Bytes that everything but the queues' workers needs: Redis, doors, Flower and the demo, at their ease.
_THE_REST = 3 * 1024**3


@dataclass(frozen=True)
class Finding:
    """What was looked at; `mend` is what to do where it is not as it should be, and None where it is."""

    text: str
    mend: str | None = None


def look(config: Settings) -> list[Finding]:
    """Everything, one finding each."""
    return list(_findings(config))


def _findings(config: Settings) -> Iterator[Finding]:
    try:
        queues = current_queues()
    except SwitchyardError as exc:
        yield Finding("config/queues.toml:", str(exc))
        return
    yield _checked(
        "what is rendered is what config/queues.toml says", lambda: preflight.rendered_files_are_fresh(config)
    )
    yield _checked("no secret is a placeholder", lambda: placeholders.refuse(config))
    yield _checked("the disk has room", lambda: preflight.there_is_room(config))
    yield _runtime(config)
    in_docker = choice.used(config.state_dir, config.runtime) == choice.DOCKER
    yield from _of_docker(config, queues) if in_docker else _of_local(config)
    yield _memory(queues, in_docker=in_docker)
    if _is_up(config):
        yield from _of_what_is_kept(config)
    else:
        own_redis = [] if in_docker or config.celery_broker_url else [(config.redis_port, "REDIS_PORT")]
        for port, variable in [(config.api_port, "API_PORT"), (config.flower_port, "FLOWER_PORT"), *own_redis]:
            yield _checked(f"port {port} is free", partial(preflight.port_is_free, port, variable))


def _checked(text: str, check: Callable[[], object]) -> Finding:
    try:
        check()
    except SwitchyardError as exc:
        return Finding(f"not so: {text}.", str(exc))
    return Finding(text)


def _runtime(config: Settings) -> Finding:
    try:
        kind = choice.choose(config.state_dir, config.runtime)
    except SwitchyardError as exc:
        return Finding("runtime:", str(exc))
    before = choice.recorded(config.state_dir)
    return Finding(f"runtime: {kind}, " + ("as it was before" if before == kind else "as `make up` would choose now"))


def _of_docker(config: Settings, queues: Queues) -> Iterator[Finding]:
    yield _checked("Docker Engine and Compose are recent enough", requirements.versions_suffice)
    yield _checked("containers can read config/", requirements.config_can_be_read)
    yield _checked(
        "this checkout's folders are where Compose looks", lambda: requirements.this_checkouts_folders(config)
    )
    yield _checked("no queue wants more processors than there are", lambda: requirements.processors_suffice(queues))
    try:
        stand_ins = base_images.stand_ins()
    except SwitchyardError:  # no engine, which is told already
        return
    for name in stand_ins:
        yield Finding(f"{name} is a stand-in, built here from Debian's packages")


def _of_local(config: Settings) -> Iterator[Finding]:
    yield Finding(
        "local processes have your rights, a file system and a network like yours, and no limits of processors and processes; "
        "Redis has no user per role: docs/docker.md"
    )
    if config.celery_broker_url:
        yield Finding("Redis: CELERY_BROKER_URL names one of yours")
        return
    try:
        server = redis_server.server_for(config)
    except SwitchyardError as exc:
        yield Finding("Redis:", str(exc))
        return
    yield Finding(f"Redis: {server.name} {'.'.join(map(str, redis_server.version(server)))}, {server}")


def _of_what_is_kept(config: Settings) -> Iterator[Finding]:
    try:
        _, sentences = runtime(config).rows(config)
    except SwitchyardError:  # it has just gone down
        return
    said = next((sentence for sentence in sentences if sentence.startswith(status.NEARLY_FULL)), None)
    yield Finding("there is room for dead letters") if said is None else Finding("dead letters:", said)


def _memory(queues: Queues, *, in_docker: bool) -> Finding:
    wanted = sum(queue.memory for queue in queues.by_name.values()) + _THE_REST
    has = int(requirements.info().get("MemTotal", 0)) if in_docker else _total_memory()
    text = f"memory: {wanted / 1024**3:.1f} GB if every queue uses its share, of {has / 1024**3:.1f} GB"
    return Finding(
        text, "Lower `memory` in config/queues.toml, or give this machine more." if has and wanted > has else None
    )


def _total_memory() -> int:
    try:
        line = Path("/proc/meminfo").read_text().splitlines()[0]
    except OSError:  # no Linux
        return 0
    return int(line.split()[1]) * 1024


def _is_up(config: Settings) -> bool:
    try:
        return runtime(config).is_up(config)
    except SwitchyardError:
        return False
