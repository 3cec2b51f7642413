"""What every command says, and how it ends."""

from __future__ import annotations

from rich.console import Console

#: Exit codes: refused with a sentence; a workflow that ended without success.
REFUSED, UNSUCCESSFUL = 1, 2

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def harmless(text: str) -> str:
    """A stranger's text on one line, without what would move the cursor of a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
