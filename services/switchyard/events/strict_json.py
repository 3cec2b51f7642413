"""JSON from strangers: bytes in, a value that means the same to every reader out.

What RFC 8259 leaves open is refused here, after RFC 7493 (I-JSON): duplicate keys, NaN, numbers that do not fit, text that is
no Unicode, and nesting that would exhaust a stack.
"""

from __future__ import annotations

import codecs
import json
import math
from typing import Any, NoReturn

from switchyard.errors import EventRefused, shown

#: Levels of objects and arrays in each other.
MAX_DEPTH = 64
#: What kombu's JSON, which carries tasks' arguments, takes for a date or the like; a bad one would stop its readers.
_KOMBUS = {"__type__", "__value__"}
_INT64 = 2**63


def loads(body: bytes) -> Any:
    """The value in `body`, which must be UTF-8. Raises EventRefused with the reason and the place."""
    if body.startswith(codecs.BOM_UTF8):
        raise EventRefused("The body begins with a byte order mark; send UTF-8 without one.")
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise EventRefused(f"The body is not UTF-8: byte {exc.start} is {body[exc.start]:#04x}.") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
        )
    except json.JSONDecodeError as exc:
        raise EventRefused(
            f"The body is not JSON: {exc.msg[0].lower()}{exc.msg[1:]} in line {exc.lineno}, column {exc.colno}."
        ) from None
    except RecursionError:
        raise _too_deep() from None
    _check(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise EventRefused(f"The body has the key {shown(name)} twice in one object; one of them would be lost.")
        found[name] = value
    if found.keys() == _KOMBUS:
        raise EventRefused(
            'The body has an object of "__type__" and "__value__", which would be taken for a Python value.'
        )
    return found


def _integer(digits: str) -> int:
    # The length first: Python refuses to convert thousands of digits, with an error of its own.
    if len(digits) > 20 or not -_INT64 <= (number := int(digits)) < _INT64:
        raise EventRefused(f"The number {shown(digits)} does not fit into 64 bits; send it as text.")
    return number


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise EventRefused(f"The number {shown(digits)} is too large; send it as text.")
    return number


def _constant(name: str) -> NoReturn:
    raise EventRefused(f"{name} is no JSON; leave the value out, or send null.")


def _check(value: Any) -> None:
    """Depth and text, level by level: no recursion, for the depth is what is in doubt."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [*each, *each.values()]
            elif isinstance(each, list):
                below += each
            elif isinstance(each, str) and not each.isascii():
                _check_text(each)
        if depth == MAX_DEPTH and any(isinstance(each, dict | list) for each in level):
            raise _too_deep()
        level, depth = below, depth + 1


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        half = f"\\u{ord(text[exc.start]):04x}"
        raise EventRefused(f"The body has half of a surrogate pair in a text ({half}); it is no Unicode.") from None


def _too_deep() -> EventRefused:
    return EventRefused(f"The body nests deeper than {MAX_DEPTH} levels; send it flatter.")
