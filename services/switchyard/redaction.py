"""Values in, the same without those whose keys sound like secrets out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Stands where such a value was.
HIDDEN = "…"


def names(setting: str) -> tuple[str, ...]:
    """What REDACTED_ARGUMENTS says."""
    return tuple(name.strip().casefold() for name in setting.split(",") if name.strip())


def redacted(value: Any, hidden: Iterable[str]) -> Any:
    """`value` with HIDDEN in place of each value, in a dict at any depth, whose key contains one of these names in whatever case."""
    hidden = tuple(hidden)
    if isinstance(value, dict):
        return {
            key: HIDDEN if any(name in str(key).casefold() for name in hidden) else redacted(inner, hidden)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(inner, hidden) for inner in value]
    return value
