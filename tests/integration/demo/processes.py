"""The demo's programs as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

SERVICES = Path(__file__).resolve().parents[3] / "services"
PATIENCE_S = 60


def wait_for(condition, what):
    """Return the first true value of `condition`, or fail saying what never happened."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {PATIENCE_S} s")


def run_python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the demo in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(SERVICES), **variables}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@dataclass
class SupplierProcess:
    """`python -m demo.supplier`, and what one asks of it."""

    port: int
    process: subprocess.Popen[bytes] | None = None
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(SERVICES)}
        self.process = subprocess.Popen([sys.executable, "-m", "demo.supplier"], env=environment)
        wait_for(self._healthy, "the supplier's start")

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process
        self.process.kill()
        self.process.wait()
        self._pool.clear()

    def request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        return self._pool.request(method, f"http://127.0.0.1:{self.port}{path}", **options)

    def stats(self) -> dict[str, Any]:
        return self.request("GET", "/stats").json()

    def _healthy(self) -> bool:
        assert self.process
        assert self.process.poll() is None, "the supplier ended at its start"
        try:
            return self.request("GET", "/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False
