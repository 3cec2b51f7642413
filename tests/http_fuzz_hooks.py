"""What schemathesis does not try on the HTTP door, and why."""

from __future__ import annotations

from typing import Any

import schemathesis


def is_beyond_64_bits(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(is_beyond_64_bits, value.values()))
    if isinstance(value, list):
        return any(map(is_beyond_64_bits, value))
    return isinstance(value, float) and value.is_integer() and not -(2**63) <= value < 2**63


@schemathesis.hook
def filter_body(_: Any, body: Any) -> bool:
    """Whole numbers beyond 64 bits are taken with an exponent and refused in digits; JSON Schema sees no difference."""
    return not is_beyond_64_bits(body)
