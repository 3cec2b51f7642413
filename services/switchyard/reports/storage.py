"""Rendered files in, paths out: where artefacts are kept, and for how long. A folder now; a bucket would be another Store."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from switchyard.errors import ReportError
from switchyard.reports.naming import SUFFIXES, is_report, is_stem

#: A draft this old belongs to a process that died while writing it.
_STALE_S = 3600
_DAY_S = 86400
_OWN = re.compile(rf"(?P<stem>[^.]+)\.({'|'.join(SUFFIXES)})")
_DRAFT = re.compile(rf"\.(?P<stem>[^.]+)\.({'|'.join(SUFFIXES)})\.[0-9a-f]{{16}}\.draft")


@dataclass(frozen=True)
class Kept:
    """An artefact that is kept: when it was made (seconds since the epoch), and the bytes of each of its files, by suffix."""

    stem: str
    made: float
    sizes: Mapping[str, int]


class Store(Protocol):
    """Keeps artefacts; an artefact is all files of one stem."""

    def put(self, report: str, stem: str, files: Mapping[str, bytes]) -> list[str]:
        """Keep the files, by suffix, whole or not at all; those of the same name are replaced. Raises ReportError."""
        ...

    def prune(self, report: str, keep: int, keep_days: int) -> list[str]:
        """Remove all but the `keep` newest artefacts of the last `keep_days` days, never the newest. Returns what went."""
        ...

    def kept(self, report: str) -> list[Kept]:
        """The artefacts of a report, newest first. Raises ReportError."""
        ...

    def read(self, report: str, name: str) -> bytes | None:
        """The file of this name, such as `<stem>.csv`; None if there is none. Raises ReportError."""
        ...


class Folder:
    """Keeps artefacts as `<root>/<report>/<stem>.csv` and `.html`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, report: str, stem: str, files: Mapping[str, bytes]) -> list[str]:
        """Write drafts, then rename them: a reader sees no half file, and a full disk leaves none. Raises ReportError."""
        if not is_report(report) or not is_stem(stem) or not set(files) <= set(SUFFIXES):
            raise ReportError(
                f"{report}/{stem}.{'|'.join(files)} is no artefact's name. Take the one that stem() makes."
            )
        folder = self.root / report
        drafts: dict[Path, Path] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _shared(folder, fcntl.LOCK_SH) as handle:
                for suffix, content in files.items():
                    draft = folder / f".{stem}.{suffix}.{secrets.token_hex(8)}.draft"
                    drafts[draft] = folder / f"{stem}.{suffix}"
                    _write(draft, content)
                for draft, path in drafts.items():
                    draft.replace(path)
                os.fsync(handle)
        except OSError as exc:
            raise ReportError(_why(folder, exc)) from exc
        finally:
            for draft in drafts:
                _remove(draft)
        return [str(path) for path in drafts.values()]

    def prune(self, report: str, keep: int, keep_days: int) -> list[str]:
        """Remove what is too old or too many, and drafts that nobody writes any more; other files are not touched.

        The newest artefact stays, however old. Raises ReportError.
        """
        folder = self.root / report
        if not is_report(report) or not folder.is_dir():
            return []
        now = time.time()
        try:
            with _shared(folder, fcntl.LOCK_EX):  # nothing is replaced between the look at its age and its end
                artefacts = sorted(_artefacts(folder).values(), key=_age, reverse=True)
                doomed = [
                    path
                    for place, paths in enumerate(artefacts)
                    if place > 0 and (place >= keep or _age(paths)[0] < now - keep_days * _DAY_S)
                    for path in paths
                ]
                doomed += [p for p in _named(folder, _DRAFT) if _modified(p) < now - _STALE_S]
                for path in doomed:
                    path.unlink(missing_ok=True)
        except OSError as exc:
            raise ReportError(_why(folder, exc)) from exc
        return [str(path) for path in doomed]

    def kept(self, report: str) -> list[Kept]:
        """The artefacts of a report, newest first. Raises ReportError."""
        folder = self.root / report
        if not is_report(report) or not folder.is_dir():
            return []
        try:
            found = sorted(_artefacts(folder).values(), key=_age, reverse=True)
            return [
                Kept(paths[0].stem, _age(paths)[0], {p.suffix[1:]: p.stat().st_size for p in paths}) for paths in found
            ]
        except FileNotFoundError:  # somebody prunes
            return self.kept(report)
        except OSError as exc:
            raise ReportError(_unread(folder, exc)) from exc

    def read(self, report: str, name: str) -> bytes | None:
        """The file of this name, such as `<stem>.csv`; None if there is none. Raises ReportError."""
        found = _OWN.fullmatch(name)
        if not is_report(report) or not found or not is_stem(found["stem"]) or not name.startswith(f"{report}-"):
            return None
        path = self.root / report / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise ReportError(_unread(path, exc)) from exc


@contextmanager
def _shared(folder: Path, how: int) -> Iterator[int]:
    """The folder, locked: many may put at once, but none while one prunes. Released by the kernel, whatever happens."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, how)
        yield handle
    finally:
        os.close(handle)


def _write(draft: Path, content: bytes) -> None:
    with draft.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # else a crash after the rename could leave the name without its bytes


def _remove(draft: Path) -> None:
    """A draft that was renamed is gone already; of one that cannot be removed, `prune` hears later."""
    try:
        draft.unlink(missing_ok=True)
    except OSError:
        return


def _named(folder: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    """What is ours by its name in a folder where others may keep things too."""
    for path in folder.iterdir():
        found = pattern.fullmatch(path.name)
        if found and is_stem(found["stem"]) and path.name.lstrip(".").startswith(f"{folder.name}-") and path.is_file():
            yield path


def _artefacts(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in _named(folder, _OWN):
        found.setdefault(path.stem, []).append(path)
    return found


def _modified(path: Path) -> float:
    """When it was written; of a file that somebody has just removed, never."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _age(paths: list[Path]) -> tuple[float, str]:
    return max(map(_modified, paths)), paths[0].stem


def _unread(path: Path, exc: OSError) -> str:
    return f"The report's files cannot be read in {path}: {exc.strerror or exc}. Mend that, then ask again."


def _why(folder: Path, exc: OSError) -> str:
    """The path, the reason and the next step."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        step = "Make room there"
    elif exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        step = f"Let user {os.geteuid()} write there"
    else:
        step = "Mend that"
    return f"The report's files cannot be kept in {folder}: {exc.strerror or exc}. {step}, then run the report again."
