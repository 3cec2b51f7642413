"""Fixtures that every layer of tests may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import ROOT, Deployment, Server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the session, each test's data flushed after it; `own_redis_server` is for tests that break it."""
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_redis_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to be killed at will."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def deployment(redis_server: Server, tmp_path: Path) -> Iterator[Deployment]:
    """The tests' own project (tests/integration/project) on the session's Redis."""
    deployed = Deployment(redis_server, tmp_path, "project.celery:app", ROOT / "tests" / "integration")
    yield deployed
    deployed.close()


@pytest.fixture
def own_deployment(own_redis_server: Server, tmp_path: Path) -> Iterator[Deployment]:
    """The tests' own project on a Redis that the test may kill."""
    deployed = Deployment(own_redis_server, tmp_path, "project.celery:app", ROOT / "tests" / "integration")
    yield deployed
    deployed.close()
