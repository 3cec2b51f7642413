"""The status reports: idempotency keys come in from POST /status, counts go out to GET /stats.

Each key is one line of a file, written before the report is answered, so a killed supplier forgets none.
"""

import os
import re
from pathlib import Path
from typing import Self

from demo.errors import SupplierError

#: What a key may be: printable ASCII of a length that fits a line.
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


class Ledger:
    """The keys of all status reports so far."""

    def __init__(self, path: Path) -> None:
        """Read the file at `path`, and create it where there is none. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC, 0o600)
        keys = path.read_bytes().splitlines()
        self.posts = len(keys)
        self.distinct = set(keys)
        self.last = keys[-1].decode() if keys else None

    def add(self, key: bytes | None) -> None:
        """Count one report. Raises SupplierError when its key is missing or no key."""
        if key is None or not _KEY.fullmatch(key):
            raise SupplierError("A status report needs the header Idempotency-Key: 1 to 255 printable characters.")
        os.write(self._file, key + b"\n")
        self.posts += 1
        self.distinct.add(key)
        self.last = key.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
