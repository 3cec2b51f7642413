"""Sections in, docs/performance.md and its pictures out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import fill

from bench.section import Section
from bench.svg import drawn

_HEAD = """\
# Performance

Written by `make bench`, which measures everything below in its short form, in one go; edits here are lost. Each section names the
command of its long form, with more rounds. Whatever is compared takes turns in one run: trust the ratios, and measure on a
machine of yours for the rest. Ours is blue.

"""


def write(sections: Sequence[Section], machine: str, docs: Path) -> Path:
    """Write the page, and its pictures beside it; returns where it is."""
    images, page = docs / "images", docs / "performance.md"
    images.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for chart in section.charts:
            (images / f"{chart.name}.svg").write_text(drawn(chart))
    page.write_text(_HEAD + f"Measured with {machine}.\n" + "".join(_markdown(section) for section in sections))
    return page


def _markdown(section: Section) -> str:
    return f"\n## {section.title}\n\n" + "\n\n".join(_paragraphs(section)) + "\n"


def _paragraphs(section: Section) -> Iterator[str]:
    yield _wrapped(f"{section.about} Its long form: `{section.command}`.")
    if section.sentences:
        yield "\n".join(_wrapped(f"- {sentence}", "  ") for sentence in section.sentences)
    for chart in section.charts:
        yield f"![{chart.title}](images/{chart.name}.svg)"
    yield "\n".join(_table(section))


def _table(section: Section) -> Iterator[str]:
    yield _line(section.columns)
    yield _line(["---", *["---:"] * (len(section.columns) - 1)])
    for row in section.rows:
        yield _line(row)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _wrapped(text: str, indent: str = "") -> str:
    """In lines as the other pages have; a command stays whole."""
    whole = re.sub("`[^`]*`", lambda found: found[0].replace(" ", "\0"), text)
    return fill(whole, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False).replace("\0", " ")
