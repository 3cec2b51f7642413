"""What is wrong with a checkout or with its machine: it is said in a sentence, with the key, and nothing is lost by it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import redis
from tests.acceptance.conftest import NEW_QUEUE, NEW_TASK, edit
from tests.support import ROOT, eventually


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # a misspelt key
        (
            "concurrency = 16",
            "concurency = 16",
            "queues.toml: queues.default.concurency: unknown key. Did you mean 'concurrency'?",
        ),
        # a glob that matches nothing
        (
            '"refresh_products"',
            '"refresh_prodcts"',
            "'refresh_prodcts' matches no task. Did you mean 'refresh_products'?",
        ),
        # a task that two queues claim
        (
            "[reports.coupons]",
            '[queues.other_queue]\ntasks = ["update_*"]\n\n[reports.coupons]',
            "'update_product_details' is taken by default and by other_queue",
        ),
        # a task that no queue takes
        ('"refresh_products_plain", ', "", "'refresh_products_plain' is taken by no queue"),
        # a module that does not import, named with its traceback
        (
            '["demo.tasks.products"]',
            '["demo.tasks.nowhere"]',
            "ModuleNotFoundError: No module named 'demo.tasks.nowhere'",
        ),
        # a broken file
        ("[queues.default]", "[queues.default", "is not valid TOML"),
    ],
)
def test_a_bad_queues_file_is_refused_with_the_key(checkout, old, new, expected):
    """`make render` says what is wrong and where, and writes nothing."""
    before = (checkout.folder / "config" / "supervisor" / "queues.conf").read_text()
    edit(checkout, old, new)
    done = checkout.make("render")
    assert done.returncode != 0
    assert expected in done.stdout
    assert (checkout.folder / "config" / "supervisor" / "queues.conf").read_text() == before


def test_a_module_that_breaks_later_is_named_and_the_other_queues_run(checkout):
    """Rendered when it was whole, broken when it starts: `make up` shows its traceback; the rest is ready."""
    (checkout.folder / "services" / "returns.py").write_text(NEW_TASK)
    with (checkout.folder / "config" / "queues.toml").open("a") as file:
        file.write(NEW_QUEUE)
    checkout.ok("render")
    (checkout.folder / "services" / "returns.py").write_text("import nothing_of_that_name\n")

    done = checkout.make("up")

    assert done.returncode != 0
    assert "worker-returns_queue did not become ready" in done.stdout
    assert "No module named 'nothing_of_that_name'" in done.stdout
    assert {name for name, state in checkout.states().items() if state == "ready"} >= {
        "worker-default",
        "worker-coupons_report_queue",
        "redis",
    }
    (checkout.folder / "services" / "returns.py").write_text(NEW_TASK)
    checkout.ok("up")


@pytest.mark.parametrize("variable", ["REDIS_PORT", "API_PORT"])
def test_a_port_in_use_is_named_before_anything_starts(checkout, variable):
    """The variable to set is in the sentence, and no process was left behind."""
    import socket

    with socket.create_server(("127.0.0.1", checkout.ports[variable])):
        done = checkout.make("up")
    assert done.returncode != 0
    assert f"Port {checkout.ports[variable]} is in use; set {variable}" in done.stdout
    assert "not up" in checkout.make("ps").stdout


def test_a_redis_that_cannot_start_is_told_at_once(checkout):
    """A damaged append-only file: its log is shown, and not those of all who wait for it."""
    checkout.ok("up")
    checkout.ok("down")
    for file in (checkout.state / "redis" / "appendonlydir").glob("*.base.*"):
        file.write_bytes(b"REDIS9999 this is no such file")
    said = checkout.make("up").stdout
    assert "redis did not become ready" in said
    assert "append only file" in said
    assert "worker-default did not" not in said


def test_a_broken_csv_keeps_its_good_rows(checkout):
    """Malformed rows are reported by their line; the rest is in the store."""
    file = checkout.folder / "mine.csv"
    file.write_text("product_id,department\n1,GROCERY\nabc,GROCERY\n2,PASTRY\n2,TWICE\n")
    said = checkout.make("seed", f"FILE={file}").stdout
    assert "line 3" in said
    assert "line 5" in said
    assert "kept 2, refused 2" in said


@pytest.mark.machine
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root, to mount a small disk")
def test_a_full_disk_is_a_sentence_and_loses_nothing(checkout):
    """Too little room: `make up` refuses. A disk that fills later: workers wait, and work goes on when there is room."""
    disk = checkout.folder / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        checkout.env((checkout.folder / ".env").read_text() + f"STATE_DIR={disk}\n")
        done = checkout.make("up")
        assert done.returncode != 0
        assert "Redis' append-only file needs" in done.stdout
        subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)
        checkout.ok("up")
        _fill(disk)
        eventually(lambda: _refuses_writes(checkout, disk), "Redis to have met the full disk")
        refused = checkout.make("start", "W=refresh_products", "ARGS=limit=500")
        assert refused.returncode != 0
        assert "No space left on device" in refused.stdout
        (disk / "ballast").unlink()
        eventually(
            lambda: "updated status" in checkout.make("start", "W=refresh_products", "ARGS=limit=500").stdout,
            "room to be used",
        )
    finally:
        checkout.make("down")
        subprocess.run(["umount", "-l", disk], check=False)


def _refuses_writes(checkout, disk) -> bool:
    """Write until Redis says no: the last page of its file may have had room for a little."""
    password = (disk / "secrets" / "redis_password").read_text().strip()
    with redis.Redis(port=checkout.ports["REDIS_PORT"], password=password) as client:
        try:
            client.set("filler", b"x" * 4096)
        except redis.ResponseError as exc:
            return "No space left on device" in str(exc)
    return False


def _fill(disk) -> None:
    """Leave no room at all, not even for what Redis writes next."""
    # Without a buffer: what it still held would be written, and fail, once more at the end.
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            return


def test_the_readmes_files_are_the_ones_in_the_repository():
    """Nothing the README links to is missing."""
    import re

    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
