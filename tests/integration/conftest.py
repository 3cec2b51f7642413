"""Ways to start a workflow of the tests' project and to wait for its end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support import Deployment, eventually

START = """
import json
from switchyard.producer import app
from switchyard.workflows import start
print(start(app, {task!r}, **json.loads({kwargs!r})))
"""
READ = """
import dataclasses, json
from switchyard.workflows import read, failed_items
meta = read({id!r})
print(json.dumps([dataclasses.asdict(meta), list(failed_items({id!r})) if meta.ended else []]))
"""

CHANGE = """
from switchyard import workflows
from switchyard.errors import WorkflowError
try:
    meta = workflows.{change}({args})
    print(meta.state, meta.attempt, meta.reason)
except WorkflowError as exc:
    print("refused:", exc)
"""


class Workflow:
    """A workflow that was started from a process of its own, as a producer would."""

    def __init__(self, deployment: Deployment, task: str, **kwargs: Any) -> None:
        self.deployment = deployment
        self.id = deployment.python(START.format(task=task, kwargs=json.dumps(kwargs)))

    def fields(self) -> dict[str, str]:
        return self.deployment.server.client().hgetall(f"switchyard:workflow:{self.id}")

    def wait(self, timeout: float = 60) -> dict[str, Any]:
        """The record once it has ended, with `failed_items`."""
        eventually(
            lambda: self.fields().get("state") in ("done", "failed", "cancelled"),
            f"workflow {self.id} to end: {self.fields()}",
            timeout,
        )
        meta, failed = json.loads(self.deployment.python(READ.format(id=self.id)))
        return {**meta, "failed_items": failed}

    def cancel(self) -> str:
        """Cancel it; what is said of it, be it that this was refused."""
        return self.deployment.python(CHANGE.format(change="cancel", args=f"{self.id!r}, by='a test'"))

    def replay(self) -> str:
        """Open its next attempt; what is said of it, be it that this was refused."""
        return self.deployment.python(CHANGE.format(change="replay", args=repr(self.id)))


@pytest.fixture
def workflow():
    """Starts workflows: `workflow(deployment, "task", argument=…)`."""
    return Workflow
