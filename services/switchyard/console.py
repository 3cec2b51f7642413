"""What every command says, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

#: Exit codes: refused with a sentence, or stopped by somebody; a workflow that ended without success.
REFUSED, UNSUCCESSFUL = 1, 2

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def harmless(text: str) -> str:
    """A stranger's text on one line, without what would move the cursor of a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def aligned(rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """A line for each row, its columns below each other, two blanks apart; cut to `width` if there is one."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        line = "".join(f"{cell:<{wide + 2}}" for cell, wide in zip(cells, widths, strict=True)) + last
        yield line if width is None or len(line) <= width else f"{line[: width - 1]}…"
