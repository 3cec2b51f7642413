"""A fan-out of 50,000 items that do nothing, beside a stock chord of them: what is left is the cost of spreading and joining."""

from __future__ import annotations

from bench.fan_out.ways import ARTICLE, OURS, Races, peak
from bench.section import out

from switchyard import workflows
from switchyard.errors import SwitchyardError
from switchyard.producer import app

ITEMS = 50_000


def measure(races: Races) -> list[str]:
    """Seconds of either, and the memory of the process that fans out: ours is a worker, which also runs items and the callback."""
    with races.running(OURS) as workers:
        ours = races.timed(ITEMS, workers, lambda: workflows.start(app, "bench.spread", items=ITEMS))
        used = max(map(peak, workers))
    out.print(f"{ITEMS:,} items that do nothing: ours {ours.seconds:.2f} s, at most {used // 1024**2} MB in a worker")
    said: list[str] = []
    try:
        with races.running(ARTICLE) as workers:
            stock = races.timed(
                ITEMS, workers, lambda: said.append(races.python((*ARTICLE.publish[:-1], "no_op"), ITEMS))
            )
    except SwitchyardError as exc:
        out.print(f"The stock chord of {ITEMS:,}: {exc}")
        return [f"{ITEMS:,} items that do nothing take {ours.seconds:.1f} s, from the start to the callback."]
    out.print(f"{ITEMS:,} items that do nothing: a stock chord {stock.seconds:.2f} s")
    return [
        (
            f"{ITEMS:,} items that do nothing take {ours.seconds:.1f} s, a stock chord of as many {stock.seconds:.1f} s: {stock.seconds / ours.seconds:.0f} "
            f"times as long. Where we fan out, a process has {used // 1024**2} MB at most; where the chord is published, {int(said[0]) // 1024**2} MB."
        )
    ]
