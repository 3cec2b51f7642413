"""An artefact in, one HTML file out: it opens from disk, asks the network for nothing, and runs nothing."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC
from functools import cache
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from switchyard.reports.artefact import Artefact, Chart
from switchyard.reports.naming import Facts, stem
from switchyard.reports.page import bars, lines
from switchyard.reports.page.describe import describe
from switchyard.reports.page.scale import numbers
from switchyard.reports.page.tables import table
from switchyard.reports.page.words import column

__all__ = ["Facts", "render_html"]

#: Rows of a table that a page shows; a browser is slow with a hundred thousand, and nobody reads them there.
ROWS_SHOWN = 500
#: Colours in page.css; a further series takes the first one again, and its line is dashed.
COLOURS = 8


def render_html(artefact: Artefact, facts: Facts) -> bytes:
    """The artefact's page; the same for equal inputs. It names the CSV file beside it. Raises ReportError for a bad name."""
    page = _templates().get_template("page.html")
    text = page.render(
        artefact=artefact,
        facts=facts,
        generated=facts.generated.astimezone(UTC),
        csv_file=f"{stem(artefact, facts)}.csv",
        headline=[(label, column([value])[0]) for label, value in artefact.headline],
        row_counts=zip(artefact.row_counts, column(list(artefact.row_counts.values())), strict=True),
        table=table(artefact.columns, artefact.rows, ROWS_SHOWN),
        more=[(title, table(columns, rows, ROWS_SHOWN)) for title, (columns, rows) in artefact.more.items()],
        **_picture(artefact.chart),
    )
    # A lone surrogate has no UTF-8 form; one odd letter must not cost the report.
    return text.encode("utf-8", "replace")


def _picture(chart: Chart) -> dict[str, object]:
    intervals = any(series.low for series in chart.series)
    if not numbers(chart):
        return {"drawing": None}
    drawing = bars.layout(chart) if chart.kind == "bars" else lines.layout(chart)
    return {"drawing": drawing, "description": describe(chart), "intervals": intervals, "width": lines.WIDTH}


@cache
def _templates() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(_read),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = _read("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # Markup, for it is ours; as text it would be escaped, and the browser would refuse what no longer matches its hash.
    environment.globals |= {"style": Markup(style), "style_hash": f"sha256-{digest}", "colours": COLOURS}  # noqa: S704
    return environment


def _read(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")
