"""Artefacts' pages in a real browser: opened from disk, on a desktop and a phone, light and dark, with hostile text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from scripts.screenshots import NoBrowserError, browser, main
from tests.artefacts import bars, facts, hostile, intervals, lines
from tests.support import ROOT, missing

from switchyard.reports.artefact import Chart, Series
from switchyard.reports.files import store
from switchyard.reports.storage import Folder

DESKTOP, PHONE, SMALL_PHONE = 1280, 390, 360
WEEKS = [f"2017-W{week:02d}" for week in range(1, 54)]
SEVERAL = [Series(name, [(week * 7) % 50 - 10 for week in range(53)]) for name in ("NORTH", "SOUTH", "A" * 60)]
PAGES = {
    "coupons": bars(),
    "sales": lines(),
    "promotions": intervals(),
    "grouped": replace(bars(), chart=Chart("bars", WEEKS, SEVERAL, "change")),
    "long_names": replace(bars(), chart=Chart("lines", WEEKS, SEVERAL, "change")),
    "large": replace(bars(), chart=Chart("bars", ["x" * 400], [Series("s", [1.5e15], [1.2e15], [1.9e15])], "units")),
    "wide": replace(bars(), columns=[f"column {n}" for n in range(30)], rows=[[f"cell {n}" for n in range(30)]]),
    "hostile": hostile(
        "<script>document.title='run'</script>\"><img src=x onerror=\"document.title='run'\">" + "y" * 300
    ),
}
CHARTS = ".bars, .lines"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        with browser() as opened:
            yield opened
    except NoBrowserError as exc:
        missing(f"a browser ({exc})")


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every page, as a report stores it."""
    folder = Folder(tmp_path_factory.mktemp("artefacts"))
    return {name: Path(store(artefact, facts(name), folder)[1]) for name, artefact in PAGES.items()}


class Tab:
    """A page in a browser without network, and everything that it asked for or complained of."""

    def __init__(self, context: Any, path: Path) -> None:
        self.tab, self.complaints, self.requests = context.new_page(), [], []
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(path.as_uri())

    def ask(self, script: str, selector: str = "html") -> Any:
        """What JavaScript makes of an element; the page's policy binds the page, not its tester."""
        return self.tab.locator(selector).first.evaluate(script)

    def box(self, selector: str) -> dict[str, float]:
        found = self.tab.locator(selector).first.bounding_box()
        assert found is not None, f"{selector} is not to be seen"
        return found


@pytest.fixture
def shown(chromium: Any, stored: dict[str, Path]) -> Iterator[Callable[..., Tab]]:
    """Opens a page: `shown("sales", width=390, theme="dark")`."""
    contexts = []

    def opened(name: str, width: int = DESKTOP, theme: str = "light") -> Tab:
        context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=theme, offline=True)
        contexts.append(context)
        return Tab(context, stored[name])

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_and_breaks_no_rule_of_its_own(shown: Callable[..., Tab], name: str) -> None:
    """One request, for the page itself; no violation of its policy, no error; and its style is in force."""
    page = shown(name)
    assert [urlsplit(url).scheme for url in page.requests] == ["file"]
    assert page.complaints == []
    assert page.ask("e => getComputedStyle(e).getPropertyValue('--paper').trim()") == "#ffffff"


@pytest.mark.parametrize("width", [DESKTOP, PHONE, SMALL_PHONE])
@pytest.mark.parametrize("name", PAGES)
def test_only_tables_scroll_sideways(shown: Callable[..., Tab], name: str, width: int) -> None:
    """The page is as wide as the screen; what is wider scrolls in a frame of its own."""
    page = shown(name, width)
    assert page.ask("e => e.scrollWidth") == width
    outside = """e => [...e.querySelectorAll('main *:not(.frame *, .unseen, .sizer)')]
        .filter(x => x.getBoundingClientRect().right > innerWidth + 1).map(x => x.outerHTML.slice(0, 200))"""
    assert page.ask(outside) == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", [name for name in PAGES if name != "wide"])
def test_the_chart_is_there_at_every_width_in_letters_of_readable_size(
    shown: Callable[..., Tab], name: str, width: int
) -> None:
    """It is not scaled down to fit: text is 13 pixels or more, and the drawing has two fifths of the width or more."""
    page = shown(name, width)
    assert page.box(CHARTS)["height"] > 30
    drawing = page.box(".plot" if page.tab.locator(".plot").count() else ".track")
    assert drawing["width"] > 0.4 * min(width - 32, 900)
    sizes = """e => [...e.querySelectorAll('text, span, small')].filter(x => getComputedStyle(x).visibility === 'visible')
        .map(x => parseFloat(getComputedStyle(x).fontSize))"""
    assert min(page.ask(sizes, CHARTS)) >= 13


def test_a_bar_is_drawn_as_long_as_its_value(shown: Callable[..., Tab]) -> None:
    """Measured on the screen: 690 beside 1,020."""
    page = shown("coupons")
    lengths = page.ask("e => [...e.querySelectorAll('rect')].map(x => x.getBoundingClientRect().width)", CHARTS)
    assert lengths[1] / lengths[0] == pytest.approx(690 / 1020, rel=0.001)


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_names_of_lines_stand_beside_them_or_below_if_they_are_long(shown: Callable[..., Tab], width: int) -> None:
    """On a phone long names would leave no room for the lines."""
    assert shown("sales", width).tab.locator(".ends").is_visible()
    long = shown("long_names", width).tab
    assert long.locator(".ends").is_visible() == (width == DESKTOP)
    assert long.locator(".legend").is_visible() == (width == PHONE)


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_labels_below_lines_do_not_run_into_each_other(shown: Callable[..., Tab], width: int) -> None:
    """Five on a desktop, three on a phone."""
    boxes = shown("sales", width).ask(
        "e => [...e.querySelectorAll('text')].map(x => x.getBoundingClientRect()).filter(b => b.width)"
        ".map(b => [b.left, b.right])",
        ".plot",
    )
    assert len(boxes) == (5 if width == DESKTOP else 3)
    assert all(left[1] < right[0] for left, right in pairwise(boxes))


@pytest.mark.parametrize(("theme", "dark"), [("light", False), ("dark", True)])
def test_a_page_is_as_dark_as_the_reader_wants_it(shown: Callable[..., Tab], theme: str, *, dark: bool) -> None:
    """Background, text and bars."""
    page = shown("coupons", theme=theme)

    def brightness(script: str, selector: str) -> float:
        parts = page.ask(f"e => getComputedStyle(e).{script}", selector).removeprefix("rgb(").rstrip(")").split(",")
        return sum(map(float, parts)) / 3

    assert (brightness("backgroundColor", "body") < 60) == dark
    assert (brightness("color", ".message") > 180) == dark
    assert (brightness("fill", "rect") > 150) == dark


def test_paper_is_white_and_tables_are_whole(shown: Callable[..., Tab]) -> None:
    """Also for somebody who reads in the dark; paper does not scroll."""
    page = shown("wide", theme="dark")
    page.tab.emulate_media(media="print", color_scheme="dark")
    assert page.ask("e => getComputedStyle(e).backgroundColor", "body") == "rgb(255, 255, 255)"
    assert page.ask("e => getComputedStyle(e).color", "body") == "rgb(0, 0, 0)"
    assert page.ask("e => getComputedStyle(e).fill", "rect") == "rgb(31, 102, 181)"  # the bars of the light theme
    assert page.ask("e => getComputedStyle(e).overflowX", ".frame") == "visible"


def test_hostile_text_is_shown_and_does_nothing(shown: Callable[..., Tab]) -> None:
    """Neither its elements nor its code exist."""
    page = shown("hostile")
    text = PAGES["hostile"].title
    assert page.tab.title() == text
    assert page.tab.locator("h1").inner_text() == text
    assert page.tab.locator("script, img").count() == 0
    assert page.complaints == []


def test_a_script_that_found_its_way_in_would_not_run(chromium: Any, stored: dict[str, Path], tmp_path: Path) -> None:
    """Should escaping ever fail, the policy stands behind it: no script, image, handler or style."""
    bad = "<script>document.title='run'</script><img src=data:, onerror=\"document.title='run'\"><p style='color:red'>"
    broken = tmp_path / "page.html"
    broken.write_text(stored["coupons"].read_text().replace("<main>", f"<main>{bad}"))
    with chromium.new_context(offline=True) as context:
        page = Tab(context, broken)
        assert page.tab.title() == bars().title
        assert len([said for said in page.complaints if "Content Security Policy" in said]) == 4


def test_assistive_technology_hears_one_picture_and_whole_tables(shown: Callable[..., Tab]) -> None:
    """The chart by its description, not by 27 scattered numbers; the tables by their captions."""
    page = shown("coupons").tab
    assert page.get_by_role("img", name="Bar chart of Redemptions").count() == 1
    assert page.get_by_role("heading", level=1).inner_text() == bars().title
    assert page.get_by_role("table", name="Coupon redemptions by campaign").count() == 1
    assert page.get_by_role("table", name="By type").get_by_role("rowheader", name="Type A").count() == 1
    spoken = page.locator("figure").aria_snapshot()
    assert "Campaign 14" not in spoken


def test_the_link_leads_to_the_csv_file_beside_the_page(shown: Callable[..., Tab], stored: dict[str, Path]) -> None:
    """Wherever both are moved."""
    address = shown("coupons").tab.locator("a").evaluate("e => e.href")
    assert Path(unquote(urlsplit(address).path)) == stored["coupons"].with_suffix(".csv")
    assert stored["coupons"].with_suffix(".csv").exists()


def test_screenshots_are_taken_of_both_screens_in_both_themes(
    chromium: Any, stored: dict[str, Path], tmp_path: Path
) -> None:
    """By the command that makes the docs' pictures, small enough to be kept in a repository."""
    command = [sys.executable, "-m", "scripts.screenshots", str(stored["sales"]), "--into", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    names = [f"sales-{width}-{theme}.png" for width in (DESKTOP, PHONE) for theme in ("light", "dark")]
    assert done.stdout.split() == [str(tmp_path / name) for name in names]
    assert all(2_000 < (tmp_path / name).stat().st_size < 100_000 for name in names)


def test_a_page_that_is_not_there_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before any browser starts."""
    assert main([str(tmp_path / "none.html")]) == 1
    assert "none.html; `make report` writes one" in capsys.readouterr().err
