"""Everything that is compared, in its short form, one after another; what it comes to is docs/performance.md.

    make bench

Runs Redis servers and workers of its own; needs no deployment. It takes about ten minutes on two cores; `make bench B=no_op` and so on
measure one of them, longer.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec

from bench import alone, page
from bench.machine import Machine
from bench.section import Section, out, show
from bench.workers import bench

from switchyard.errors import SwitchyardError
from switchyard.settings import ROOT

#: In the page's order. One that a fork has deleted is not missed.
SECTIONS = ("small_tasks", "fan_out", "no_op", "lanes", "latency", "footprint", "growth")


def main() -> int:
    """Measure, show and write; 1 if something could not be measured, which the page says as well."""
    machine = Machine()
    names = [name for name in SECTIONS if find_spec(f"bench.{name}")]
    began, sections, failed = time.monotonic(), list[Section](), list[str]()
    for place, name in enumerate(names):
        out.print(f"{place + 1} of {len(names)}: {name}, after {(time.monotonic() - began) / 60:.1f} minutes")
        try:
            sections.append(alone.short(name))
        except SwitchyardError as exc:
            print(f"error: {name}: {exc}", file=sys.stderr)
            failed.append(name)
        else:
            show(sections[-1])
    with bench() as made:
        written = page.write(sections, machine.sentence(made), ROOT / "docs", failed)
    out.print(f"{written} is written, after {(time.monotonic() - began) / 60:.1f} minutes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
