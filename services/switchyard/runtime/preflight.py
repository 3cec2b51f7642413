"""What must be true before the deployment is changed; each refusal is a sentence and leaves everything as it was."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from switchyard import render
from switchyard.errors import ConfigError, RuntimeRefusal
from switchyard.settings import Settings

#: Below this Redis could not rewrite the append-only file of a full demo.
MIN_FREE_BYTES = 256 * 1024**2


@contextmanager
def alone(config: Settings) -> Iterator[None]:
    """Let one command at a time change the deployment. Raises RuntimeRefusal naming the other."""
    config.state_dir.mkdir(parents=True, exist_ok=True)
    with (config.state_dir / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RuntimeRefusal(
                f"Another command (pid {file.read().strip() or 'unknown'}) is changing this deployment; "
                "nothing was done. Run this again when it has ended."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def rendered_files_are_fresh(config: Settings) -> None:
    """Raises ConfigError naming the rendered files that are not what queues.toml says."""
    if stale := render.stale(config.config_dir):
        names = " and ".join(render.name(path, config.config_dir) for path in stale)
        raise ConfigError(f"{names} is not what config/queues.toml says. Run `make render` and look at the change.")


def paths_can_be_used(config: Settings) -> None:
    """Raises RuntimeRefusal for a path that supervisord cannot read in its configuration."""
    if "%" in str(config.state_dir):
        raise RuntimeRefusal(f"STATE_DIR: supervisord cannot use a path with % in it, got {str(config.state_dir)!r}.")


def there_is_room(config: Settings) -> None:
    """Raises RuntimeRefusal when the disk has no room for Redis' append-only file."""
    there = next(folder for folder in (config.state_dir, *config.state_dir.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < MIN_FREE_BYTES:
        raise RuntimeRefusal(
            f"Only {free // 1024**2} MB are free under {config.state_dir}; Redis' append-only file needs "
            f"{MIN_FREE_BYTES // 1024**2}. Free some, or set STATE_DIR to a folder with room."
        )


def port_is_free(port: int, variable: str) -> None:
    """Raises RuntimeRefusal when something else listens on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        # As the servers themselves do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise RuntimeRefusal(
                f"Port {port} is in use; set {variable} in .env to a free one. ({exc.strerror})"
            ) from None
