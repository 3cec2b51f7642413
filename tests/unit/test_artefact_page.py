"""An artefact's page: what it says, that it says it safely, and where its chart puts things."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from tests.artefacts import bars, facts, hostile, intervals, lines

from switchyard.reports.artefact import Artefact, Chart, Series
from switchyard.reports.page import ROWS_SHOWN, render_html
from switchyard.reports.page import bars as bar_layout
from switchyard.reports.page import lines as line_layout
from switchyard.reports.page.describe import describe
from switchyard.reports.page.scale import covering, ticks
from switchyard.reports.page.words import column, short

EVERY = {"bars": bars(), "lines": lines(), "intervals": intervals()}
VOID = {"meta", "rect", "line", "path", "circle"}


class Page(HTMLParser):
    """A page as a browser would read it: its elements, and all its text."""

    def __init__(self, artefact: Artefact, **parameters: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.source = render_html(artefact, facts(**parameters)).decode()
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(text for tag, texts in self.texts.items() if tag != "style" for text in texts)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


# What it says


def test_a_page_says_what_was_found_and_where_it_comes_from() -> None:
    """Everything that somebody needs to quote it."""
    page = Page(bars(), period="2017")
    assert page.texts["h1"] == page.texts["title"] == ["Coupon redemptions by campaign"]
    for said in (
        "Four of 27 campaigns brought 84 % of all redemptions; three brought none.",
        "3,569",  # a headline
        "4,181.50",  # money, to the cent
        "27 rows, also in",
        "By type",  # a further table
        "A campaign counts from its first day to its last.",
        "completejourney: coupon_redemptions, campaigns, campaign_descriptions",
        "2017-01-01 to 2017-12-31",
        "2,102 coupon_redemptions, 6,589 campaigns",
        "period = 2017",
        "2026-11-23 09:30:05 UTC",
        "3f0c6c1e-7d2b-4d38-9b35-f00d5eed0001",
    ):
        assert said in page.text
    assert page.all("a") == [{"href": page.texts["a"][0]}]
    assert re.fullmatch(r"coupons-2017-[0-9a-f]{12}\.csv", page.texts["a"][0])


def test_equal_inputs_make_equal_pages_but_for_the_time_and_the_workflow() -> None:
    """No random ids: two pages can be compared."""
    again = replace(facts(), generated=datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC), workflow_id="another")
    one, two = render_html(lines(), facts()).decode(), render_html(lines(), again).decode()
    assert one == render_html(lines(), facts()).decode()
    differ = [(a, b) for a, b in zip(one.splitlines(), two.splitlines(), strict=True) if a != b]
    assert [b for _, b in differ] == [
        '<div><dt>Generated</dt><dd><time datetime="2027-01-02T03:04:05Z">2027-01-02 03:04:05 UTC</time></dd></div>',
        "<div><dt>Workflow</dt><dd><code>another</code></dd></div>",
    ]


def test_the_time_is_utc_wherever_it_was_taken() -> None:
    """A page travels."""
    east = replace(facts(), generated=datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=2))))
    assert b"2025-12-31 23:00:00 UTC" in render_html(bars(), east)


def test_a_long_table_shows_its_first_rows_and_says_where_all_are() -> None:
    """Browsers are slow with a hundred thousand; nobody reads them."""
    artefact = replace(bars(), columns=["n"], rows=[[f"row {n}"] for n in range(2000)], more={})
    page = Page(artefact)
    assert f"{ROWS_SHOWN} of 2,000 rows; all are in" in page.text
    assert len(page.all("tr")) == 1 + ROWS_SHOWN


def test_an_artefact_without_rows_says_so() -> None:
    """A page with nothing on it looks broken."""
    nothing = Chart("lines", [], [], "sales")
    page = Page(replace(bars(), rows=[], chart=nothing, headline=[], more={"By type": (["type"], [])}, notes=[]))
    assert page.text.count("No rows in this period") == 3
    assert not page.all("svg")
    assert "Notes" not in page.text


@pytest.mark.parametrize("kind", ["bars", "lines"])
def test_a_chart_of_nothing_but_gaps_is_no_chart(kind: str) -> None:
    """An axis without a value would claim zero."""
    chart = Chart(kind, ["a", "b"], [Series("s", [None, None])], "units")  # type: ignore[arg-type]
    assert "nothing to draw" in Page(replace(bars(), chart=chart)).text


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1234567, -5, 0], ["1,234,567", "\u22125", "0"]),
        ([Decimal("1234.5"), Decimal("-0.07"), Decimal(5)], ["1,234.50", "\u22120.07", "5.00"]),
        ([Decimal("1E+3"), Decimal("0.125")], ["1,000.000", "0.125"]),  # as exact as the most exact of them
        ([1.0, 2.137], ["1.00", "2.14"]),
        ([0.01234, 0.5], ["0.012", "0.500"]),
        ([12345.678], ["12,345.7"]),
        ([-0.0001, 3.0], ["0.00", "3.00"]),  # no minus before a zero
        ([0.0, 1e-9], ["0.000000", "0.000000"]),
        ([None, "text", date(2017, 3, 1), True], ["", "text", "2017-03-01", "True"]),
    ],
)
def test_a_column_is_written_alike_from_top_to_bottom(cells: list, expected: list[str]) -> None:
    """Thousands apart, cents exact, the same number of digits."""
    assert column(cells) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0"), (2500, "2,500"), (1.5e6, "1.5M"), (-2e9, "\u22122bn"), (0.25, "0.25"), (3e12, "3tn")],
)
def test_an_axis_number_is_short(number: float, expected: str) -> None:
    """A phone has room for seven characters."""
    assert short(number) == expected


# That it says it safely

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></svg><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;b&gt;&amp;",
    "שלום \u202eevil\u202c 🧀👩‍👩‍👧",
    "x" * 3000,
    "",
]


@pytest.mark.parametrize("kind", ["bars", "lines"])
@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_text_wherever_it_stands(text: str, kind: str) -> None:
    """The elements are those of a harmless page, no attribute is new, and the text is there as it was."""
    one, harmless = hostile(text), hostile("harmless")
    chart, plain = replace(one.chart, kind=kind), replace(harmless.chart, kind=kind)  # type: ignore[arg-type]
    page = Page(replace(one, chart=chart), p=text)
    like = Page(replace(harmless, chart=plain), p="harmless")

    def shape(page: Page) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in page.elements]

    assert shape(page) == shape(like)
    assert not {tag for tag, _ in page.elements} & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "base",
        "form",
    }
    assert not [
        name for _, attributes in page.elements for name in attributes if name.startswith("on") or name == "style"
    ]
    if text.strip():
        assert page.texts["h1"] == [text.strip()]
        assert text.strip() in page.texts["li"]


def test_half_a_character_costs_a_question_mark_not_the_report() -> None:
    """A lone surrogate has no UTF-8 form."""
    assert b"<h1>a?b</h1>" in render_html(hostile("a\ud800b"), facts())


@pytest.mark.parametrize("artefact", EVERY.values(), ids=EVERY)
def test_a_page_allows_its_own_style_and_nothing_else(artefact: Artefact) -> None:
    """By the hash of the very text; there is no other style, no script, and nothing is fetched."""
    page = Page(artefact)
    [style] = re.findall(r"<style>(.*?)</style>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    [policy] = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"url\(|@import|@font-face|image-set", style)
    assert not [name for _, a in page.elements for name in a if name in {"style", "src", "srcset", "xlink:href"}]
    assert "http://" not in page.source
    assert "https://" not in page.source
    first = page.source.index("Content-Security-Policy")
    assert first < page.source.index("<title>")  # it holds for what comes after it


# For everybody


@pytest.mark.parametrize("artefact", EVERY.values(), ids=EVERY)
def test_a_page_can_be_read_without_seeing_it(artefact: Artefact) -> None:
    """Language, headings in order, tables with captions and scopes, a chart that is one picture with a description."""
    page = Page(artefact)
    assert not page.open  # every element is closed
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert {tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)} == {"h1", "h2"}
    assert len(page.all("caption")) == len(page.all("table"))
    assert {heading["scope"] for heading in page.all("th")} == {"col", "row"}
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a} <= set(ids)
    [picture] = [attributes for _, attributes in page.elements if attributes.get("role") == "img"]
    assert picture["aria-label"] == describe(artefact.chart)
    frames = [attributes for attributes in page.all("div") if attributes.get("class") == "frame"]
    assert {frame["tabindex"] for frame in frames} == {"0"}  # or no keyboard could scroll it


def test_a_chart_is_described_by_its_extremes() -> None:
    """Every series, up to as many as one listens to."""
    chart = Chart("lines", ["W1", "W2", "W3"], [Series("a", [3, 1, None]), Series("b", [None] * 3)], "units a week")
    assert describe(chart) == "Line chart of units a week. a: lowest 1 (W2), highest 3 (W1). b: no values."
    many = Chart("bars", ["x"], [Series(f"s{n}", [n]) for n in range(11)], "units")
    assert describe(many).endswith("And 3 more.")


def luminance(colour: str) -> float:
    """WCAG's relative luminance of #rrggbb."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_stand_out_in_both_themes(theme: int) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for text, and series' names are text; 3 to 1 for what carries meaning."""
    style = Page(bars()).texts["style"][0]
    colours = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", style.split("prefers-color-scheme: dark")[theme]))
    for name in ("ink", "quiet", "link", *(f"c{n}" for n in range(8))):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for name in ("ink", "quiet"):
        assert contrast(colours[name], colours["raised"]) >= 4.5, name
    assert contrast(colours["axis"], colours["paper"]) >= 3


# Where the chart puts things


def test_a_bar_is_as_long_as_its_value_and_starts_at_zero() -> None:
    """To the left of zero if it is below; nothing is drawn for none."""
    chart = Chart("bars", ["a", "b", "c", "d"], [Series("s", [30, -10, 0, None])], "units")
    drawn = [(bar.begin, bar.end, bar.value) for [bar] in (group.bars for group in bar_layout.layout(chart))]
    assert drawn == [(25, 100, "30"), (0, 25, "\u221210"), (25, 25, "0"), (None, None, "")]


def test_bars_of_several_series_stand_below_their_label_with_names_of_their_own() -> None:
    """So no reader needs to tell colours apart."""
    labels = [f"2017-W{week:02d}" for week in range(1, 54)]
    chart = Chart("bars", labels, [Series(f"s{n}", list(range(53))) for n in range(5)], "units")
    groups = bar_layout.layout(chart)
    assert [group.heading for group in groups] == labels
    assert {tuple(bar.name for bar in group.bars) for group in groups} == {("s0", "s1", "s2", "s3", "s4")}
    assert len(Page(replace(bars(), chart=chart)).all("rect")) == 52 * 5  # the first week has none


def test_an_interval_is_wholly_in_the_picture_and_in_words() -> None:
    """One that were cut off would lie."""
    chart = Chart("bars", ["a", "b"], [Series("s", [4.6, -1.0], low=[4.0, -2.5], high=[9.2, 0.5])], "units")
    one, two = (group.bars[0] for group in bar_layout.layout(chart))
    assert (two.low, one.high) == (0, 100)
    assert (one.interval, two.interval) == ("4.00 to 9.20", "\u22122.50 to 0.50")
    assert one.low is not None
    assert one.end is not None
    assert one.low < one.end < one.high


@pytest.mark.parametrize(
    "values", [[0.003, 0.0071], [190, 51_000], [-8, 41], [-3.5, -1.2], [0, 0], [1], [2_500_000_000]]
)
def test_an_axis_has_a_few_round_numbers_and_zero(values: list[float]) -> None:
    """And room for every value."""
    scale, marks = ticks(covering(values))
    assert 0 in marks
    assert 2 <= len(marks) <= 8
    assert scale.low <= min(values) <= max(values) <= scale.high
    assert all(re.fullmatch(r"\u2212?[\d.,]{1,7}(M|bn)?", short(mark)) for mark in marks)


def test_a_line_is_broken_where_a_value_is_missing() -> None:
    """And a point that stands alone is marked, or nobody would see it."""
    values = [*range(20), None, 5, None, *range(20)]
    chart = Chart("lines", [str(n) for n in range(len(values))], [Series("s", values)], "units")
    [line] = line_layout.layout(chart).lines
    assert line.path.count("M") == 3
    assert [x for x, _ in line.points] == [50.0]


def test_one_label_is_a_point_in_the_middle() -> None:
    """There is no line through one point."""
    picture = line_layout.layout(Chart("lines", ["2017"], [Series("s", [7])], "units"))
    assert [x for x, _ in picture.lines[0].points] == [50.0]
    assert [(label.text, label.at, label.anchor) for label in picture.labels] == [("2017", 50.0, "middle")]


@pytest.mark.parametrize("count", [1, 5, 20, 40])
def test_names_at_the_ends_of_lines_never_cover_each_other(count: int) -> None:
    """However close the lines end; and all are in the picture."""
    chart = Chart("lines", ["a", "b"], [Series(f"s{n}", [n, 100 + n / 1000]) for n in range(count)], "units")
    picture = line_layout.layout(chart)
    places = sorted(line.name_at for line in picture.lines)
    assert all(below - above >= 18 for above, below in pairwise(places))
    assert places[0] >= 0
    assert places[-1] <= picture.height


def test_a_series_without_values_has_no_name_in_the_picture_and_takes_nobodys_colour() -> None:
    """It would stand beside a line that is another's."""
    chart = Chart("lines", ["a", "b"], [Series("none", [None, None]), Series("s", [1, 2])], "units")
    assert [(line.name, line.colour) for line in line_layout.layout(chart).lines] == [("s", 1)]


def test_a_band_goes_along_the_highs_and_back_along_the_lows() -> None:
    """A closed shape."""
    chart = Chart("lines", ["a", "b"], [Series("s", [5, 5], low=[0, 0], high=[10, 10])], "units")
    [line] = line_layout.layout(chart).lines
    assert line.band == "M0 0L1000 0L1000 300L0 300Z"


@pytest.mark.parametrize("count", [2, 3, 4, 5, 53, 400])
def test_a_few_labels_stand_below_the_lines_and_a_phone_keeps_the_ends(count: int) -> None:
    """The first and the last say what the period is."""
    labels = [str(n) for n in range(count)]
    shown = line_layout.layout(Chart("lines", labels, [Series("s", [1] * count)], "units")).labels
    assert len(shown) == min(count, 5)
    on_a_phone = [label.text for label in shown if not label.minor]
    assert (on_a_phone[0], on_a_phone[-1]) == ("0", str(count - 1))
    assert len(on_a_phone) <= 3
