"""A program's name in; this process becomes it, or runs it until it is told to stop."""

from __future__ import annotations

import os
from importlib import import_module

from switchyard.routing import current_queues
from switchyard.runtime import placeholders, redis_server
from switchyard.settings import ROOT, Settings, environment
from switchyard.worker import launch
from switchyard.worker.orphans import end_with_parent

#: Programs of our own, each the `main` of a module that no other process has to import.
MODULES = {
    "producer": "switchyard.producer.http.serve",
    "consumer": "switchyard.producer.consumer",
    "clock": "switchyard.producer.clock",
}


def run(config: Settings, name: str) -> None:
    """Run a program as its supervisor does. Raises ConfigError for what cannot start."""
    end_with_parent()
    placeholders.refuse(config)
    if name == "worker":
        launch.become_worker(config, current_queues())
    elif name == "redis":
        redis_server.become_redis(config)
    elif name == "flower":
        _become_flower(config)
    else:
        import_module(MODULES[name]).main()


def _become_flower(config: Settings) -> None:
    celery = str(ROOT / ".venv-flower" / "bin" / "celery")
    command = [celery, "-q", "flower", f"--conf={config.config_dir / 'flower.py'}", "--address=127.0.0.1",
               f"--port={config.flower_port}"]  # fmt: skip
    child = {**environment(), "SECRETS_DIR": str(config.state_dir / "secrets"), "PYTHONPATH": ""}
    os.execve(celery, command, child)  # noqa: S606  no shell: this process becomes the program
