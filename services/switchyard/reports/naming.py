"""What an artefact's files are called: by their content, so that a report that is delivered twice is stored once."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from typing import Any

from switchyard.errors import ReportError
from switchyard.queues import bad_name
from switchyard.reports.artefact import Artefact

#: What an artefact is made into. A folder of artefacts holds nothing else that is ours.
SUFFIXES = ("csv", "html")
#: Longest readable part of a name: together with a report's name and a draft's ending it stays below 255 bytes.
_SLUG = 60
_STEM = re.compile(r"[a-z][a-z0-9_]*(-[a-z0-9]+)*-[0-9a-f]{12}")


@dataclass(frozen=True)
class Facts:
    """What the core knows of an artefact: who asked for what, and when it was made (UTC)."""

    report: str
    parameters: Mapping[str, str]
    workflow_id: str
    generated: datetime


def stem(artefact: Artefact, facts: Facts) -> str:
    """The name of the artefact's files without their suffix: report, parameters, and a hash of what they say.

    The time and the workflow's id are no part of it. Raises ReportError for a report with a bad name.
    """
    if not is_report(facts.report):
        raise ReportError(f"{facts.report!r} is no report's name: expected a-z, 0-9 and _, starting with a letter.")
    content = json.dumps([facts.report, facts.parameters, artefact], default=_plain)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return "-".join(filter(None, [facts.report, _slug(facts.parameters.values()), digest]))


def is_report(name: str) -> bool:
    """Whether a report can have this name; then it can name a folder as well."""
    return bad_name(name) is None


def is_stem(name: str) -> bool:
    """Whether `stem` could have made this name: nothing in it leads out of a folder."""
    return _STEM.fullmatch(name) is not None


def _slug(words: Any) -> str:
    text = unicodedata.normalize("NFKD", " ".join(words).lower()).encode("ascii", "ignore").decode()
    return "-".join(re.findall("[a-z0-9]+", text))[:_SLUG].strip("-")


def _plain(value: object) -> object:
    """What JSON does not know: containers become its own, a value becomes the text that Python writes it as."""
    if is_dataclass(value):
        return vars(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) else repr(value)
