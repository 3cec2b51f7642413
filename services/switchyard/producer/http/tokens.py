"""The file of API tokens in; the name of a token's owner out. The file is read again when it changes: its edit revokes."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from switchyard.logs import get_logger

#: Names are part of events' sources, and so of URIs.
_LINE = re.compile(rb"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<token>[\x21-\x7e]{1,512})")

log = get_logger(__name__)


class Tokens:
    """The tokens of one file, lines of `name:token`. A name may have several, while one takes over from another."""

    def __init__(self, path: Path) -> None:
        """Reads nothing yet."""
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._entries: list[tuple[bytes, str]] = []

    def caller(self, token: bytes) -> str | None:
        """Whose token it is; None if it is nobody's. Takes equally long wherever in the file it is."""
        self._read_if_changed()
        digest, found = hashlib.sha256(token).digest(), None
        for entry, name in self._entries:
            if hmac.compare_digest(entry, digest):
                found = name
        return found

    def _read_if_changed(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self._stamp:
                return
            lines = self._path.read_bytes().splitlines()
        except OSError as exc:
            if self._stamp != ():
                log.warning("callers_unknown", path=str(self._path), reason=exc.strerror)
            self._stamp, self._entries = (), []
            return
        self._stamp, self._entries = stamp, _entries(lines)


def _entries(lines: list[bytes]) -> list[tuple[bytes, str]]:
    found = []
    for number, line in enumerate(map(bytes.strip, lines), start=1):
        if not line or line.startswith(b"#"):
            continue
        if entry := _LINE.fullmatch(line):
            found.append((hashlib.sha256(entry["token"]).digest(), entry["name"].decode()))
        else:  # by its number only: what is wrong with the line may be next to a secret
            log.warning("caller_skipped", line=number, reason="expected name:token")
    return found
