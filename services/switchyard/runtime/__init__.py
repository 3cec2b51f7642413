"""How a deployment runs: in Docker Compose, or as processes of this machine under supervisord. Either has the same commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from switchyard.errors import RuntimeRefusal
from switchyard.runtime import choice

if TYPE_CHECKING:
    from switchyard.queues import Queues
    from switchyard.runtime.status import Row, Say
    from switchyard.settings import Settings


class Runtime(Protocol):
    """What `make` can ask of a deployment; each of its modules says what it raises."""

    def up(self, config: Settings, queues: Queues, say: Say) -> None:
        """Bring it up and wait until it is ready."""

    def down(self, config: Settings, say: Say) -> bool:
        """Stop it; False if nothing was running."""

    def restart(self, config: Settings, name: str, say: Say) -> None:
        """Restart a queue's worker, or another program."""

    def is_up(self, config: Settings) -> bool:
        """Whether it runs."""

    def rows(self, config: Settings) -> tuple[list[Row], list[str]]:
        """What runs, and a sentence for each kind of what was kept because it could not be done."""

    def log_lines(self, config: Settings, name: str | None, *, follow: bool) -> Iterator[tuple[str, str]]:
        """Lines of logs, each after its program's name."""

    def run_inside(self, config: Settings, module: str, arguments: Sequence[str]) -> int:
        """Run a module where Redis is reached; its exit code."""


def not_both(config: Settings) -> None:
    """Raises RuntimeRefusal while the deployment runs in the runtime that it would leave now."""
    before = choice.recorded(config.state_dir)
    if before == choice.DOCKER and not choice.engine_answers():
        return  # nothing of it runs, as far as can be seen
    if before and config.runtime and before != config.runtime and _module(before).is_up(config):
        raise RuntimeRefusal(f"The deployment still runs; stop it first: make down RUNTIME={before}")


def runtime(config: Settings, *, choosing: bool = False) -> Runtime:
    """The runtime of this deployment; `choosing` for `make up`, which raises RuntimeRefusal where it would be another than before."""
    return _module((choice.choose if choosing else choice.used)(config.state_dir, config.runtime))


def _module(kind: str) -> Runtime:
    modules = {choice.DOCKER: "switchyard.runtime.docker.deployment", choice.LOCAL: "switchyard.runtime.local"}
    return cast("Runtime", import_module(modules[kind]))
