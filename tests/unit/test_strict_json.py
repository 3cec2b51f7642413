"""JSON from strangers: what means the same to every reader comes out; all else is refused, and soon."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from switchyard.errors import EventRefused
from switchyard.events.strict_json import MAX_DEPTH, loads

#: Seconds in which the largest body must be answered; quadratic work on it takes minutes.
SOON = 2
LARGEST = 1024**2
MANY = 300


def refusal(body: bytes) -> str:
    with pytest.raises(EventRefused) as refused:
        loads(body)
    return str(refused.value)


def nested(levels: int, inside: bytes = b"") -> bytes:
    """Objects and arrays in turn."""
    opened = [b'{"a":' if level % 2 else b"[" for level in range(levels)]
    return b"".join(opened) + inside + b"".join(b"}" if level % 2 else b"]" for level in reversed(range(levels)))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        # each kind of value
        (b"null", None),
        (b"true", True),
        (b'"a"', "a"),
        (b' [1, {"a": []}] \n', [1, {"a": []}]),
        # zero has a sign only where it has a fraction
        (b"-0", 0),
        (b"-0.0", -0.0),
        # numbers that fit exactly into 64 bits
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"1e308", 1e308),
        # too small is nothing, as everywhere
        (b"1e-999", 0.0),
        # text beyond ASCII, as it is and escaped
        ('"ä€😀"'.encode(), "ä€😀"),
        (rb'"\u00e4\ud83d\ude00\u0000"', "ä😀\0"),
        # the same key in two objects, and in two spellings that differ
        (b'[{"a": 1}, {"a": 2, "A": 3}]', [{"a": 1}, {"a": 2, "A": 3}]),
    ],
)
def test_what_is_well_formed_comes_out_as_it_is(body: bytes, value: Any) -> None:
    """Of the same type, and with the same sign."""
    found = loads(body)
    assert (repr(found), type(found)) == (repr(value), type(value))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        # nothing, or not enough
        (b"", "The body is not JSON: expecting value in line 1, column 1."),
        (b" \n", "The body is not JSON: expecting value in line 2, column 1."),
        (b'{"a": 1', "The body is not JSON: expecting ',' delimiter in line 1, column 8."),
        # more than one value, comments, single quotes, a trailing comma, a bare line break in a text
        (b"1 2", "The body is not JSON: extra data in line 1, column 3."),
        (b"{} // no", "The body is not JSON: extra data in line 1, column 4."),
        (b"{'a': 1}", "The body is not JSON: expecting property name enclosed in double quotes in line 1, column 2."),
        (b"[1,]", "The body is not JSON: expecting value in line 1, column 4."),
        (b'"a\nb"', "The body is not JSON: invalid control character at in line 1, column 3."),
        # no UTF-8: another encoding, a cut character, a surrogate written as if it were one
        ("ä".encode("latin-1"), "The body is not UTF-8: byte 0 is 0xe4."),
        ("{}".encode("utf-16"), "The body is not UTF-8: byte 0 is 0xff."),
        (b'"ab\xe2\x82"', "The body is not UTF-8: byte 3 is 0xe2."),
        (b'"\xed\xa0\x80"', "The body is not UTF-8: byte 1 is 0xed."),
        (b"\xef\xbb\xbf{}", "The body begins with a byte order mark; send UTF-8 without one."),
        # half a surrogate pair, in a text or in a key
        (rb'["\ud800"]', r"The body has half of a surrogate pair in a text (\ud800); it is no Unicode."),
        (rb'{"a\udfff": 1}', r"The body has half of a surrogate pair in a text (\udfff); it is no Unicode."),
        (rb'["\ude00\ud83d"]', r"The body has half of a surrogate pair in a text (\ude00); it is no Unicode."),
        # keys that are there twice: plainly, spelt in two ways, far inside
        (b'{"a": 1, "b": 2, "a": 1}', "The body has the key 'a' twice in one object; one of them would be lost."),
        (rb'{"a": 1, "\u0061": 2}', "The body has the key 'a' twice in one object; one of them would be lost."),
        (b'[{"x": {"": 1, "": 2}}]', "The body has the key '' twice in one object; one of them would be lost."),
        # numbers that some reader would read as another
        (b"9223372036854775808", "The number '9223372036854775808' does not fit into 64 bits; send it as text."),
        (b"-9223372036854775809", "The number '-9223372036854775809' does not fit into 64 bits; send it as text."),
        (b"1" * 5000, f"The number '{'1' * 99}… does not fit into 64 bits; send it as text."),
        (b"[1e999]", "The number '1e999' is too large; send it as text."),
        (b"-1e309", "The number '-1e309' is too large; send it as text."),
        (b"9" * 400 + b".5", f"The number '{'9' * 99}… is too large; send it as text."),
        # what is JavaScript
        (b"NaN", "NaN is no JSON; leave the value out, or send null."),
        (b"[Infinity]", "Infinity is no JSON; leave the value out, or send null."),
        (b'{"a": -Infinity}', "-Infinity is no JSON; leave the value out, or send null."),
        # what is neither
        (b"undefined", "The body is not JSON: expecting value in line 1, column 1."),
        (b"01", "The body is not JSON: extra data in line 1, column 2."),
        (b"+1", "The body is not JSON: expecting value in line 1, column 1."),
        (b"0x1", "The body is not JSON: extra data in line 1, column 2."),
    ],
)  # fmt: skip
def test_what_some_reader_would_read_differently_is_refused(body: bytes, sentence: str) -> None:
    """With the place or the value, shortened."""
    assert refusal(body) == sentence


@pytest.mark.parametrize("inside", [b"", b"1", b'"a"'])
def test_values_may_nest_so_deep_and_no_deeper(inside: bytes) -> None:
    """What is counted are objects and arrays, whether something is in the innermost or not."""
    even = MAX_DEPTH - 1 if inside == b"" else MAX_DEPTH  # an object needs a value
    loads(nested(even, inside))
    assert refusal(nested(MAX_DEPTH + 1, inside)) == f"The body nests deeper than {MAX_DEPTH} levels; send it flatter."


@pytest.mark.parametrize(
    "body",
    [
        # deeper than Python's own stack, closed and not
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"[" * LARGEST,
        # a key twice among very many
        b"{" + b",".join(b'"%d":0' % n for n in range(90_000)) + b',"89999":0}',
        # one number, one text, one escape after the other
        b"1" * LARGEST,
        b"0." + b"1" * (LARGEST - 3) + b"x",
        b"1e" + b"9" * (LARGEST - 2),
        b'"' + b"a" * LARGEST,
        b'["' + rb"\ud800" * (LARGEST // 6 - 1) + b'"]',
        # very many values that are each all right until the last
        b"[" + b"{}," * (LARGEST // 3 - 2) + b"NaN]",
    ],
    ids=lambda body: f"{body[:8].decode()}…",
)
def test_a_hostile_body_is_refused_soon(body: bytes) -> None:
    """Whatever a body of the largest size is full of, the next one waits behind it."""
    started = time.perf_counter()
    assert len(refusal(body)) < 300
    assert time.perf_counter() - started < SOON


def anything(dice: random.Random, levels: int = 4) -> Any:
    """A value that JSON can carry."""
    text = "".join(dice.choices('ab"\\\n\0äß€😀\u2028', k=dice.randint(0, 4)))
    number = dice.choice([0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, -0.0, 1e308, 5e-324, dice.uniform(-1e9, 1e9)])
    inner = dice.randint(0, 3) if levels else 0
    return dice.choice([
        None, True, False, text, number,
        [anything(dice, levels - 1) for _ in range(inner)],
        {f"{text}{n}": anything(dice, levels - 1) for n in range(inner)},
    ])  # fmt: skip


def test_whatever_can_be_written_is_read_as_it_was() -> None:
    """Escaped or not."""
    dice = random.Random(1)
    for _ in range(MANY):
        value = anything(dice)
        assert repr(loads(json.dumps(value, ensure_ascii=dice.random() < 0.5).encode())) == repr(value)


def test_any_bytes_are_read_as_json_reads_them_or_refused() -> None:
    """No other error comes out; what is taken, Python's own parser reads alike. Good bodies with a few bytes changed."""
    dice, taken = random.Random(2), 0
    for _ in range(MANY):
        body = bytearray(json.dumps(anything(dice)).encode())
        for _ in range(dice.randint(0, 3)):
            place = dice.randrange(len(body))
            body[place : place + 1] = dice.choice([b"", b"9", b'"', b"\\", b"[", b"}", b",", b"e", b"\xff", b"NaN"])
            body = body or bytearray(b" ")
        try:
            found = loads(bytes(body))
        except EventRefused:
            continue
        taken += 1
        assert repr(found) == repr(json.loads(body))
    assert MANY / 10 < taken < MANY * 9 / 10, "the bodies must be of both kinds"
