"""Everything that is compared, in its short form, one after another; what it comes to is docs/performance.md.

    make bench

Runs Redis servers and workers of its own; needs no deployment. It takes about ten minutes on two cores; `make bench B=no_op` and so on
measure one of them, longer.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from importlib.util import find_spec

from bench import page
from bench.machine import Machine
from bench.section import Section, out, show
from bench.workers import bench

from switchyard.errors import SwitchyardError
from switchyard.settings import ROOT

#: In the page's order. One that a fork has deleted is not missed.
SECTIONS = ("small_tasks", "no_op", "lanes", "latency", "footprint", "growth")


def main() -> int:
    """Measure, show and write; 1 if something could not be measured, and the page is left as it was."""
    machine = Machine()
    names = [name for name in SECTIONS if find_spec(f"bench.{name}")]
    began, sections = time.monotonic(), list[Section]()
    for place, name in enumerate(names):
        out.print(f"{place + 1} of {len(names)}: {name}, after {(time.monotonic() - began) / 60:.1f} minutes")
        try:
            sections.append(import_module(f"bench.{name}.__main__").short())
        except SwitchyardError as exc:
            print(f"error: {name}: {exc}", file=sys.stderr)
            return 1
        show(sections[-1])
    with bench() as made:
        written = page.write(sections, machine.sentence(made), ROOT / "docs")
    out.print(f"{written.relative_to(ROOT)} is written, after {(time.monotonic() - began) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
