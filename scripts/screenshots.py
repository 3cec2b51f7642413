"""Pictures of reports' pages, for the docs: `python -m scripts.screenshots PAGE.html … [--into docs/images]`.

Each page is opened from disk, without network, as a desktop and a phone show it, light and dark. Needs Debian's chromium
and what requirements/browser.txt locks.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
#: Width of the screen, and how much of a long page is worth showing.
SCREENS = {1280: 1250, 390: 1250}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
#: A page has few colours; this many look the same and take a third of the bytes.
COLOURS = 128
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class NoBrowserError(Exception):
    """There is nothing here that could open a page."""


def main(arguments: Sequence[str]) -> int:
    """Take the pictures and say where they are; 1 and a sentence if that is impossible."""
    parser = argparse.ArgumentParser(prog="screenshots", description="Pictures of reports' pages, for the docs.")
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE", help="a report's HTML file")
    parser.add_argument("--into", type=Path, default=IMAGES, help="the folder of the pictures (docs/images)")
    given = parser.parse_args(arguments)
    if absent := [str(page) for page in given.pages if not page.is_file()]:
        return _refuse(f"there is no page {', '.join(absent)}; `make report` writes one and prints its path.")
    try:
        with browser() as opened:
            for page in given.pages:
                for picture in pictures(opened, page, given.into):
                    print(picture)
    except NoBrowserError as exc:
        return _refuse(str(exc))
    return 0


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium. Raises NoBrowserError with what to install."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415  not locked with the rest: it is large
    except ImportError:
        raise NoBrowserError(
            "Playwright is missing: pip install --require-hashes -r requirements/browser.txt"
        ) from None
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        raise NoBrowserError("there is no Chromium on the PATH; on Debian and Ubuntu: apt install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program)
        yield opened
        opened.close()


def pictures(opened: Browser, page: Path, into: Path) -> Iterator[Path]:
    """Take a page's pictures: <report>-<width>-<theme>.png; the report is the folder that the page is in."""
    into.mkdir(parents=True, exist_ok=True)
    report = page.resolve().parent.name
    for width, height in SCREENS.items():
        for theme in THEMES:
            context = opened.new_context(
                viewport={"width": width, "height": height}, color_scheme=theme, offline=True, device_scale_factor=1
            )
            tab = context.new_page()
            tab.goto(page.resolve().as_uri())
            path = into / f"{report}-{width}-{theme}.png"
            path.write_bytes(small(tab.screenshot()))
            context.close()
            yield path


def small(png: bytes) -> bytes:
    """The same picture in fewer bytes: a repository keeps every version of it."""
    from PIL import Image  # noqa: PLC0415  as Playwright

    packed = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
