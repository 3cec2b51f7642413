"""Where artefacts are kept: their names, whole files or none, and what is removed when."""

from __future__ import annotations

import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.artefacts import bars, facts

from switchyard.errors import ReportError
from switchyard.reports import storage
from switchyard.reports.artefact import Chart, Series
from switchyard.reports.files import store
from switchyard.reports.naming import stem
from switchyard.reports.storage import Folder

NAME = "sales-2017-0123456789ab"
HOUR, DAY = 3600, 86400


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "artefacts")


def inside(folder: Folder) -> list[str]:
    """Every file of every report."""
    return sorted(path.name for path in folder.root.rglob("*") if path.is_file())


def kept(folder: Folder, name: str, age: float, content: bytes = b"x") -> None:
    """An artefact of two files that was stored so many seconds ago."""
    for path in folder.put("sales", name, {"csv": content, "html": content}):
        os.utime(path, (time.time() - age,) * 2)


# Names


def test_equal_content_has_one_name_whenever_and_by_whomever_it_was_made() -> None:
    """So a callback that is delivered twice leaves one artefact."""
    again = replace(facts(), generated=datetime(2027, 1, 1, tzinfo=UTC), workflow_id="another")
    assert stem(bars(), facts()) == stem(replace(bars(), rows=tuple(bars().rows)), again)


@pytest.mark.parametrize(
    "other",
    [
        replace(bars(), message="Another."),
        replace(bars(), rows=bars().rows[1:]),
        replace(bars(), headline=[("Redemptions", Decimal("3569.00"))]),
        replace(bars(), notes=[]),
        replace(bars(), chart=Chart("bars", ["a"], [Series("b", [1])], "c")),
    ],
)
def test_other_content_has_another_name(other: object) -> None:
    """Whatever differs."""
    assert stem(other, facts()) != stem(bars(), facts())  # type: ignore[arg-type]


def test_other_parameters_have_another_name_even_if_they_read_alike() -> None:
    """What the readable part cannot tell apart, the hash does."""
    one, two = stem(bars(), facts(department="DRUG GM")), stem(bars(), facts(department="DRUG-GM"))
    assert one != two
    assert one.startswith("coupons-drug-gm-")
    assert two.startswith("coupons-drug-gm-")


@pytest.mark.parametrize("text", ["../../etc/passwd", "a/b\\c\0d", "." * 300, "x" * 5000, "日本語", "", "C:con", "\n"])
def test_a_name_is_safe_whatever_the_parameters_say(folder: Folder, text: str) -> None:
    """Letters, digits and hyphens, and short enough for any file system."""
    name = stem(bars(), facts(department=text))
    assert re.fullmatch(r"coupons-([a-z0-9-]+-)?[0-9a-f]{12}", name)
    assert len(name) < 100
    assert [Path(path).parent for path in folder.put("coupons", name, {"csv": b"x"})] == [folder.root / "coupons"]


def test_a_report_with_a_bad_name_has_no_file() -> None:
    """It would be a path."""
    with pytest.raises(ReportError, match="'../x' is no report's name: expected a-z"):
        stem(bars(), facts("../x"))


@pytest.mark.parametrize(
    ("report", "name", "suffix"),
    [("../x", NAME, "csv"), ("sales", "../" + NAME, "csv"), ("sales", "sales", "csv"), ("sales", NAME, "/../x")],
)
def test_a_store_takes_no_name_that_leads_out_of_it(folder: Folder, report: str, name: str, suffix: str) -> None:
    """Whoever calls it."""
    with pytest.raises(ReportError, match="is no artefact's name"):
        folder.put(report, name, {suffix: b"x"})
    assert not folder.root.exists()


# Whole files or none


def test_an_artefact_becomes_a_csv_and_a_page_that_names_it(folder: Folder) -> None:
    """By a relative name, so that both can be moved together."""
    paths = store(bars(), facts(), folder)
    name = stem(bars(), facts())
    assert paths == [str(folder.root / "coupons" / f"{name}.{suffix}") for suffix in ("csv", "html")]
    assert f'href="{name}.csv"' in Path(paths[1]).read_text()


def test_a_second_delivery_replaces_the_files_of_the_first(folder: Folder) -> None:
    """And no reader meets a moment without them: the name is the same file or the next."""
    store(bars(), facts(), folder)
    store(bars(), replace(facts(), workflow_id="another"), folder)
    assert len(inside(folder)) == 2


def test_files_are_as_readable_as_this_user_makes_files(folder: Folder) -> None:
    """Not private to the worker's user, as temporary files are."""
    umask = os.umask(0o022)
    try:
        [path] = folder.put("sales", NAME, {"csv": b"x"})
    finally:
        os.umask(umask)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o644


def test_writers_of_one_name_at_once_leave_one_whole_artefact(folder: Folder) -> None:
    """Whoever is last; no draft is another's."""
    content = [bytes([letter]) * 300_000 for letter in b"abcdefgh"]
    threads = [threading.Thread(target=folder.put, args=("sales", NAME, {"csv": c})) for c in content for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside(folder) == [f"{NAME}.csv"]
    assert (folder.root / "sales" / f"{NAME}.csv").read_bytes() in content


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root, to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_a_sentence_and_leaves_what_was_there(small_disk: Path) -> None:
    """The first artefact stays whole, of the second there is nothing, not even a draft; room makes it work."""
    disk = Folder(small_disk)
    disk.put("sales", NAME, {"csv": b"old", "html": b"old"})
    for name in (NAME, "sales-0123456789ff"):
        with pytest.raises(ReportError) as refused:
            disk.put("sales", name, {"csv": b"new", "html": bytes(100_000)})
        said = "No space left on device. Make room there, then run the report again."
        assert str(refused.value) == f"The report's files cannot be kept in {small_disk}/sales: {said}"
        assert {path.name: path.read_bytes() for path in (small_disk / "sales").iterdir()} == {
            f"{NAME}.csv": b"old",
            f"{NAME}.html": b"old",
        }
    disk.put("sales", NAME, {"csv": b"new", "html": b"new"})


LIMITED = """
import resource, sys
from pathlib import Path
from switchyard.errors import ReportError
from switchyard.reports.storage import Folder
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    Folder(Path(sys.argv[1])).put("sales", "sales-0123456789ab", {"csv": b"x", "html": bytes(20_000)})
except ReportError as exc:
    print(exc)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system limits no file's size")
def test_a_file_that_may_not_grow_leaves_nothing(folder: Folder) -> None:
    """What a user who is not root can see of a full disk."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", LIMITED, str(folder.root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "File too large. Make room there" in done.stdout
    assert inside(folder) == []


def test_a_file_where_the_folder_should_be_is_a_sentence(folder: Folder) -> None:
    """The path, the reason and the next step."""
    folder.root.write_text("in the way")
    with pytest.raises(ReportError, match=r"artefacts/sales: Not a directory\. Mend that, then run the report again"):
        folder.put("sales", NAME, {"csv": b"x"})


DENIED = """
import os, sys
from pathlib import Path
from switchyard.errors import ReportError
from switchyard.reports.storage import Folder
if os.geteuid() == 0:
    os.setuid(65534)
try:
    Folder(Path("/") / sys.argv[1]).put("sales", "sales-0123456789ab", {"csv": b"x"})
except ReportError as exc:
    print(exc)
"""


def test_a_folder_that_may_not_be_written_is_a_sentence_that_names_the_user() -> None:
    """Tried as nobody on the root folder, for root may write everywhere."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", DENIED, "switchyard-artefacts-nobody"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"Permission denied\. Let user \d+ write there, then run the report again\.", done.stdout)


# Retention


def test_more_than_the_newest_so_many_artefacts_are_removed(folder: Folder) -> None:
    """Both files of each."""
    for age in range(1, 5):
        kept(folder, f"sales-{age:012x}", age=age * HOUR)
    removed = folder.prune("sales", keep=2, keep_days=90)
    assert inside(folder) == [f"sales-{age:012x}.{suffix}" for age in (1, 2) for suffix in ("csv", "html")]
    assert len(removed) == 4
    assert all("sales-00000000000" in path for path in removed)


def test_artefacts_older_than_so_many_days_are_removed_but_never_the_newest(folder: Folder) -> None:
    """A report that ran last year is still there to be read."""
    for age in (10, 20, 30):
        kept(folder, f"sales-{age:012x}", age=age * DAY)
    folder.prune("sales", keep=100, keep_days=15)
    assert inside(folder) == ["sales-00000000000a.csv", "sales-00000000000a.html"]
    folder.prune("sales", keep=1, keep_days=1)
    assert inside(folder) == ["sales-00000000000a.csv", "sales-00000000000a.html"]


def test_storing_an_artefact_again_makes_it_new(folder: Folder) -> None:
    """Otherwise its report would return paths that are about to go."""
    kept(folder, "sales-0000000000aa", age=50 * DAY)
    kept(folder, "sales-0000000000bb", age=20 * DAY)
    folder.put("sales", "sales-0000000000aa", {"csv": b"x", "html": b"x"})
    folder.prune("sales", keep=1, keep_days=90)
    assert inside(folder) == ["sales-0000000000aa.csv", "sales-0000000000aa.html"]


def test_what_others_keep_in_the_folder_is_not_touched(folder: Folder) -> None:
    """A person's copy, another report's artefact, a folder, however old."""
    kept(folder, NAME, age=0)
    own = folder.root / "sales"
    others = ["notes.csv", "sales-0123456789ff.xlsx", f"{NAME}.html.bak", "coupons-0123456789ff.csv", "sales.csv"]
    for name in [*others, ".hidden.draft"]:
        (own / name).write_text("x")
        os.utime(own / name, (0, 0))
    (own / "sales-0123456789aa.csv").mkdir()
    assert folder.prune("sales", keep=1, keep_days=1) == []
    assert {*others, ".hidden.draft"} <= set(inside(folder))


def test_a_draft_that_nobody_writes_any_more_is_removed(folder: Folder) -> None:
    """One that is being written is younger than an hour."""
    kept(folder, NAME, age=0)
    own = folder.root / "sales"
    old, new = own / f".{NAME}.csv.{'0' * 16}.draft", own / f".{NAME}.csv.{'1' * 16}.draft"
    for draft in (old, new):
        draft.write_text("half")
    os.utime(old, (time.time() - 2 * HOUR,) * 2)
    assert folder.prune("sales", keep=1, keep_days=1) == [str(old)]
    assert new.exists()


def test_a_report_without_artefacts_has_nothing_to_prune(folder: Folder) -> None:
    """No folder is made for it."""
    assert folder.prune("sales", keep=1, keep_days=1) == []
    assert not folder.root.exists()


def test_pruning_beside_writers_never_removes_what_was_just_stored(folder: Folder) -> None:
    """The oldest is stored again and again while others prune: after a `put` that is last, the artefact is there."""
    names = [f"sales-{number:012x}" for number in range(4)]
    stop = time.monotonic() + 1

    def until_then(work: Callable[[], object]) -> None:
        while time.monotonic() < stop:
            work()

    pruner = threading.Thread(target=until_then, args=(lambda: folder.prune("sales", keep=1, keep_days=1),))
    pruner.start()
    until_then(lambda: [folder.put("sales", name, {"csv": b"x", "html": b"x"}) for name in names])
    pruner.join()
    assert {f"{names[-1]}.csv", f"{names[-1]}.html"} <= set(inside(folder))


def test_a_file_that_somebody_removes_meanwhile_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person tidies up while old artefacts are looked at: what is gone is gone, and the rest is pruned."""
    folder = Folder(tmp_path)
    for name in ("a", "b", "c"):
        folder.put("sales", f"sales-{name * 12}", {"csv": b"x"})
    named = storage._named

    def and_gone(place: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
        for path in named(place, pattern):
            if "aaa" in path.name:
                path.unlink()
            yield path

    monkeypatch.setattr(storage, "_named", and_gone)
    folder.prune("sales", keep=1, keep_days=1)
    assert len(list((tmp_path / "sales").iterdir())) == 1
