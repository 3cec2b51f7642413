"""A chart in, an SVG file's text out: horizontal bars on a panel of their own, so that it is readable on a light and on a dark page.

It follows the reader's colours where the browser tells them, has no scripts, and its words are text.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from bench.numbers import number
from bench.section import Bar, Chart

_WIDTH, _LABELS, _VALUES, _ROW, _TOP = 760, 260, 90, 24, 44

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.panel { fill: #ffffff; stroke: #d0d7de }
.ours { fill: #1f6feb }
.other { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .panel { fill: #0d1117; stroke: #30363d }
  .ours { fill: #58a6ff }
  .other { fill: #6e7681 }
}"""


def drawn(chart: Chart) -> str:
    """The file's text."""
    height = _TOP + _ROW * len(chart.bars) + 12
    longest = max((bar.value for bar in chart.bars), default=0.0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">',
        f"<title>{escape(chart.title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="panel" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="6"/>',
        f'<text class="title" x="16" y="27">{escape(chart.title)}</text>',
        *(line for place, bar in enumerate(chart.bars) for line in _row(bar, _TOP + _ROW * place, longest)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _row(bar: Bar, top: int, longest: float) -> Iterator[str]:
    space = _WIDTH - _LABELS - _VALUES - 16
    width = space * bar.value / longest if longest else 0.0
    yield f'<text x="{_LABELS - 8}" y="{top + 16}" text-anchor="end">{escape(bar.label)}</text>'
    yield f'<rect class="{"ours" if bar.ours else "other"}" x="{_LABELS}" y="{top + 4}" width="{width:.1f}" height="{_ROW - 8}" rx="2"/>'
    yield f'<text x="{_LABELS + width + 6:.1f}" y="{top + 16}">{number(bar.value)}</text>'
