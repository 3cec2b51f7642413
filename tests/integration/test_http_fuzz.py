"""schemathesis against a real server: nothing but what the OpenAPI document says is answered, and never a 5xx."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.artefacts import bars, facts
from tests.calling import Door
from tests.support import ROOT, Deployment

from switchyard.reports.files import store
from switchyard.reports.storage import Folder

QUEUES = """
[queues.default]
tasks = ["*"]
max_waiting = 1000000

[reports.trials]
module = "project.reports.trials"
"""
EVENTS = """
[events."catalog.refresh.requested"]
workflow = "misbehave"
parameters = { limit = "limit?" }
path = "/v1/products/refresh"

[events."thing.happened"]
workflow = "misbehave"
parameters = { item = "thing.item", place = "place" }

[[events."thing.sold"]]
workflow = "misbehave"
parameters = { item = "item" }
when = { country = ["DE", "FR"], "buyer.adult" = true }
path = "/v1/sales"

[[events."thing.sold"]]
workflow = "collect"
when = { count = 3 }
"""


def test_the_door_answers_as_its_document_says(deployment: Deployment, tmp_path: Path) -> None:
    """All checks, on examples, edge cases, random requests good and bad, and sequences of them."""
    deployment.queues(QUEUES)
    deployment.events(EVENTS)
    store(bars(), facts("trials"), Folder(tmp_path / "state" / "artefacts"))
    door = Door(deployment)

    # Left out: streams, which of a workflow that no worker runs have no end; test_http_door.py has their own tests. And that what
    # was deleted is gone: DELETE cancels a workflow, whose record stays.
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{door.port}/openapi.json",
            "--header", "Authorization: Bearer alices-token", "--checks", "all", "--exclude-checks", "use_after_free", "--exclude-path-regex", "/stream$",
            "--max-examples", "25", "--seed", "1", "--generation-database", "none", "--continue-on-failure",
            "--request-timeout", "20",
        ],
        cwd=tmp_path, env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.http_fuzz_hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert door.is_healthy()
    assert door.lines("event_accepted")
    assert not door.lines("request_failed")
