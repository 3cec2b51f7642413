"""Settings in; for each role of containers a folder of the files it may read, and for each service its fingerprint, out.

A container sees its role's folder at /run/switchyard and nothing of the others. The files can be read by every user, because a
container's user is none of this machine's; who else is on this machine cannot, because the folder around them is its owner's.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values

from switchyard.errors import ConfigError
from switchyard.health import program_name, queue_name
from switchyard.queues import Queues
from switchyard.runtime import fingerprints, secret_files
from switchyard.runtime.docker import acl
from switchyard.runtime.supervisor import DOORS
from switchyard.settings import ROOT, Settings, given_settings, secret_names

#: Roles that have a folder of files; the demo's has settings, and no broker.
_FOLDERS = ("worker", "producer", "flower", "redis", "demo")
#: Programs of the demo's; what they read is not known here, but where.
_DEMO = ("seed", "supplier")


def folder(config: Settings, role: str = "") -> Path:
    """The folder of a role's files on this machine."""
    return config.state_dir / "containers" / role


def write(config: Settings, queues: Queues) -> None:
    """Bring all folders to what the settings say. Raises ConfigError before anything is written."""
    secret_files.ensure(config)
    try:
        tokens = config.api_tokens_file.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        file = str(config.api_tokens_file)
        raise ConfigError(
            f"API_TOKENS_FILE: cannot read {file!r}; expected a text file of lines `name:token`."
        ) from exc
    for role, mode in (("", 0o700), *((role, 0o755) for role in _FOLDERS)):
        folder(config, role).mkdir(parents=True, exist_ok=True)
        folder(config, role).chmod(mode)
    passwords = {role: _password(config, role) for role in acl.ROLES}
    env = _env_file()
    for role in ("worker", "producer", "flower"):
        _put(folder(config, role) / "broker_url", _url(config, role, passwords[role], 0))
        _put(folder(config, role) / "result_backend", _url(config, role, passwords[role], 1))
    for role in ("worker", "producer", "demo"):
        _put(folder(config, role) / "env", env)
    _put(folder(config, "producer") / "api_tokens", tokens)
    _put(folder(config, "flower") / "flower_basic_auth", config.secret_file("flower_basic_auth").read_text())
    for role in ("health", "admin"):
        _put(folder(config, "redis") / f"{role}_password", passwords[role])
    for service in services(queues):
        fingerprint = fingerprints.of_program(config, queues, service)
        # Passwords and users are read at a start; only what new queues add is told to a Redis that runs.
        read = acl.users((), passwords) if service == "redis" else passwords.get(_role(service), "")
        fingerprint += sha256(read.encode()).hexdigest()[:16]
        _put(folder(config, f"{service}.env"), f"SETTINGS_FINGERPRINT={fingerprint}\n")
    _put(folder(config, "redis") / "users.acl", acl.users([*queues.by_name], passwords))


def services(queues: Queues) -> Iterable[str]:
    """The services whose containers are made anew when their settings change."""
    return [*map(program_name, queues.by_name), *DOORS, "flower", "redis", *_DEMO]


def _role(service: str) -> str:
    return "worker" if queue_name(service) else "producer" if service in DOORS else service


def _password(config: Settings, role: str) -> str:
    file = config.secret_file(f"redis_{role}_password")
    secret_files.write_once(file, secrets.token_urlsafe(32))
    return file.read_text().strip()


def _url(config: Settings, role: str, password: str, database: int) -> str:
    given = config.celery_broker_url if database == 0 else config.celery_result_backend or config.celery_broker_url
    return given.get_secret_value() if given else f"redis://{role}:{quote(password, safe='')}@redis:6379/{database}"


def _env_file() -> str:
    """The `.env` of containers: this machine's without what is not theirs, and what this command was given besides."""
    given = {name: value for name, value in given_settings().items() if value}  # an empty one is unset
    values = {**dotenv_values(ROOT / ".env"), **given}
    kept = {name: value for name, value in values.items() if value and _is_for_containers(name)}
    return "".join(f"{name}='{_escaped(value)}'\n" for name, value in kept.items())


def _is_for_containers(name: str) -> bool:
    # The core's secrets come as files of their own, to those roles that need them.
    return name.lower().removesuffix("_file") not in secret_names(Settings)


def _escaped(value: str) -> str:
    # python-dotenv fills ${…} in inside of quotes, too, and has no escape for it but a default: that of a name that is none.
    return value.replace("\\", "\\\\").replace("'", "\\'").replace("${", "${:-$}{")


def _put(file: Path, text: str) -> None:
    """Write a file if it differs. A new file in its place, because a reader must never see half of one."""
    if file.exists() and file.read_text() == text:
        return
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(file)
