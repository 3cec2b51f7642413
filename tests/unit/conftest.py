"""What the core's unit tests share: no setting of this machine, a config folder to write to, and short Python processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from switchyard import routing
from switchyard.settings import EnvironmentSettings, Settings, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "services"
#: A broker that is nowhere: nothing here may need one.
NOWHERE = "redis://:nobody@127.0.0.1:1/0"

#: Before any import of a subprocess: the .env of this checkout is a developer's own.
WITHOUT_DOTENV = """
from switchyard.settings import EnvironmentSettings, Settings
EnvironmentSettings.model_config["env_file"] = Settings.model_config["env_file"] = None
"""


#: Of other programs, and read by ours: with what certificates pip works.
OTHERS = ("PIP_CERT", "SSL_CERT_FILE")


def _is_ours(variable: str) -> bool:
    names = tuple(name.upper() for name in Settings.model_fields)
    return variable.upper().startswith(("CELERY_", "QUEUES__", "SUPPLIER_", "DATABASE_URL", *OTHERS, *names))


@pytest.fixture
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No variable of this machine is a setting; `.env` and every folder are the test's own. The path is that of `.env`.

    The runtime is the local one: no test asks this machine's Docker engine.
    """
    for variable in [name for name in os.environ if _is_ours(name)]:
        monkeypatch.delenv(variable)
    dotenv = tmp_path / ".env"
    for cls in (EnvironmentSettings, Settings):
        monkeypatch.setitem(cls.model_config, "env_file", dotenv)
    monkeypatch.setenv("CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME", "local")
    (tmp_path / "config").mkdir()
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(routing, "_read", None)
    settings.cache_clear()
    yield dotenv
    settings.cache_clear()


@pytest.fixture
def config_dir(own_environment: Path, tmp_path: Path) -> Path:
    """The folder that CONFIG_DIR names; empty."""
    return tmp_path / "config"


@pytest.fixture
def python(own_environment: Path, tmp_path: Path) -> Callable[..., str]:
    """Run a short program with the test's own environment; returns what it prints."""

    def run(code: str, **extra: str) -> str:
        env = {**os.environ, "CELERY_BROKER_URL": NOWHERE, **extra}
        env["PYTHONPATH"] = os.pathsep.join([str(SERVICES), str(tmp_path)])
        command = [sys.executable, "-c", WITHOUT_DOTENV + code]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
