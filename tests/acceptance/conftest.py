"""Checkouts to try things in: one that nothing was done in, one that is up as processes, one that is up in containers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.checkout import Checkout
from tests.support import missing

from switchyard.runtime.choice import engine_answers

NEW_QUEUE = '\n[queues.returns_queue]\ntasks = ["returns.*"]\nimports = ["returns"]\npool = "solo"\n'
NEW_TASK = 'from celery import shared_task\n\n\n@shared_task(name="returns.count")\ndef count():\n    return 42\n'


def edit(checkout: Checkout, old: str, new: str) -> None:
    """Replace text in the checkout's queues.toml."""
    file = checkout.folder / "config" / "queues.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A checkout that nothing has been done in."""
    made = Checkout(tmp_path / "switchyard")
    yield made
    made.end()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Checkout]:
    """A checkout whose deployment is up; for tests that leave it so. `in_either_runtime` asks for both, one after the other."""
    runtime = getattr(request, "param", "local")
    if runtime == "docker":
        docker_needed()
    yield from _brought_up(Checkout(tmp_path_factory.mktemp("up") / "switchyard", runtime))


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose deployment is up in Docker; for tests that leave it so."""
    docker_needed()
    yield from _brought_up(Checkout(tmp_path_factory.mktemp("containers") / "switchyard", "docker"))


def _brought_up(made: Checkout) -> Iterator[Checkout]:
    try:
        made.ok("up")
        yield made
    finally:
        made.end()


def docker_needed() -> None:
    """A test needs an engine, and Compose."""
    command = ["docker", "compose", "version"]
    if not engine_answers() or subprocess.run(command, capture_output=True, check=False).returncode:
        missing("a Docker engine with Compose")
