"""A fork: the demo deleted as docs/your-project.md says, somebody else's project in its place."""

from __future__ import annotations

import re
import shutil

from tests.support import ROOT

QUEUES = '[queues.default]\ntasks = ["*"]\npool = "threads"\nconcurrency = 4\n\n[queues.invoice_queue]\ntasks = ["shop.total"]\npool = "threads"\n'


def without_demo(checkout) -> None:
    """Delete what the documentation says a fork deletes, word for word."""
    text = " ".join((checkout.folder / "docs" / "your-project.md").read_text().split())
    sentence = re.search(r"When the demo is no longer wanted: delete (.*?), the demo's targets", text)
    paths = re.findall(r"`([^`]+)`", sentence[1])
    assert "services/demo" in paths
    for pattern in paths:
        found = list(checkout.folder.glob(pattern))
        assert found, f"docs/your-project.md names {pattern}, which is not there"
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    example = (checkout.folder / ".env.example").read_text().split("# --- The demo ---")[0]
    example = example.replace("CELERY_APP=demo.celery:app", "CELERY_APP=shop.celery:app").replace("\nDEMO=1\n", "\n")
    (checkout.folder / ".env.example").write_text(example)
    ports = "".join(f"{name}={port}\n" for name, port in checkout.ports.items())
    checkout.env(example + ports + checkout.own_settings)
    compose = checkout.folder / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("      - compose/demo.yml\n", ""))
    (checkout.folder / "config" / "queues.toml").write_text(QUEUES)
    (checkout.folder / "config" / "events.toml").write_text("")
    shutil.copytree(ROOT / "tests" / "fork" / "plain" / "shop", checkout.folder / "services" / "shop")


def test_somebody_elses_project_takes_the_demos_place(checkout):
    """Deleted, rendered, up: its chord runs on our workers, and the core's own tests still pass."""
    without_demo(checkout)
    checkout.ok("render")
    checkout.ok("up")
    assert set(checkout.states()) == {
        "worker-default",
        "worker-invoice_queue",
        "producer",
        "consumer",
        "clock",
        "flower",
        "redis",
    }
    said = checkout.ok("test", "T=tests/unit")
    assert " passed" in said
    assert " failed" not in said
