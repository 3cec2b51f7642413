"""What the HTTP door shows of kept artefacts: a listing, and files by name and by no path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchyard.errors import ReportError
from switchyard.reports.storage import Folder, Kept

NAMES = [f"sales-2017-{number:012x}" for number in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Three artefacts, the last one the newest, and what else may lie in their folder."""
    folder = Folder(tmp_path / "artefacts")
    for number, name in enumerate(NAMES):
        for path in folder.put("sales", name, {"csv": b"x" * number, "html": b"page"}):
            os.utime(path, (1000 + number,) * 2)
    for other in ("notes.txt", f".{NAMES[0]}.csv.0123456789abcdef.draft", "others-0123456789ab.csv"):
        (tmp_path / "artefacts" / "sales" / other).write_text("not for you")
    (tmp_path / "artefacts" / "secret.csv").write_text("not for you")
    return folder


def test_artefacts_are_listed_newest_first(folder: Folder) -> None:
    """With the size of each file; a file that is alone, as while its artefact is put, is listed alone."""
    (folder.root / "sales" / f"{NAMES[0]}.html").unlink()
    assert folder.kept("sales") == [
        Kept(NAMES[2], 1002, {"csv": 2, "html": 4}),
        Kept(NAMES[1], 1001, {"csv": 1, "html": 4}),
        Kept(NAMES[0], 1000, {"csv": 0}),
    ]
    assert folder.kept("none") == folder.kept("../sales") == []


def test_a_file_is_read_by_its_name(folder: Folder) -> None:
    """Each of an artefact's files."""
    assert (folder.read("sales", f"{NAMES[2]}.csv"), folder.read("sales", f"{NAMES[2]}.html")) == (b"xx", b"page")


@pytest.mark.parametrize(
    ("report", "name"),
    [
        ("sales", "sales-2017-ffffffffffff.csv"),
        ("sales", "notes.txt"),
        ("sales", f".{NAMES[0]}.csv.0123456789abcdef.draft"),
        ("sales", "others-0123456789ab.csv"),
        ("sales", "../secret.csv"),
        ("sales", f"../sales/{NAMES[0]}.csv"),
        ("sales", f"{NAMES[0]}.csv\n"),
        ("sales", f"{NAMES[0]}.csv\x00"),
        ("sales", ""),
        ("..", "secret.csv"),
        ("", f"{NAMES[0]}.csv"),
        ("none", "none-0123456789ab.csv"),
    ],
)
def test_what_is_no_artefacts_file_is_not_there(folder: Folder, report: str, name: str) -> None:
    """Whether or not it exists."""
    assert folder.read(report, name) is None


def test_a_file_that_cannot_be_read_is_an_error(folder: Folder) -> None:
    """With its path and its reason, for the log."""
    (folder.root / "sales" / "sales-0123456789ab.csv").mkdir()
    with pytest.raises(ReportError, match="cannot be read in .*sales-0123456789ab.csv: Is a directory"):
        folder.read("sales", "sales-0123456789ab.csv")
