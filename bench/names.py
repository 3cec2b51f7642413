"""Command lines of benches: some of what there is, by name; and numbers, several of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable


def some_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """An argparse type: names with commas between them, in the order in which they are known."""
    known = list(names)

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
        return [name for name in known if name in chosen]

    return parse


def numbers(text: str) -> list[int]:
    """An argparse type: whole numbers with commas between them."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers with commas between them") from None
