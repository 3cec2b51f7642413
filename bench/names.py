"""Command lines of benches: some of what there is, by name."""

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
