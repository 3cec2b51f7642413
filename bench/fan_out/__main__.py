"""Every product refreshed, then one callback: our fan-out beside a bare loop, the article's chord, taskiq and dramatiq, in one run.

    make bench B=fan_out [ARGS="--items 5000 --rounds 3 --ways ours,bare,faster,article,articles,taskiq,dramatiq,empty"]

Runs a Redis, a supplier that answers after 50 ms, and workers of its own; needs no deployment. All store a product in the same cheap
way; the ways take turns, so that a machine whose speed drifts drifts for all. `empty` is a fan-out of items that do nothing beside a
stock chord of them: how long that takes, and the memory of the process that fans out.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import statistics
import sys

from bench.fan_out import empty
from bench.fan_out.ways import WAYS, Found, Races, Way
from bench.section import Bar, Chart, Section, out, show
from bench.workers import bench

from switchyard.errors import SwitchyardError

_COMMAND = "make bench B=fan_out"


def race(races: Races, ways: list[Way], items: int, rounds: int) -> dict[Way, list[Found]]:
    """The runs of each way, by turns. A way that cannot run says so; the others do."""
    found: dict[Way, list[Found]] = {}
    for number in range(rounds):
        for way in ways:
            try:
                with races.running(way) as workers:
                    one = races.run(way, items, workers)
            except (SwitchyardError, OSError) as exc:
                print(f"error: {way.name}: {exc}", file=sys.stderr)
                continue
            found.setdefault(way, []).append(one)
            out.print(
                f"round {number + 1} of {rounds}: {way.name}: {one.seconds:.2f} s, {one.cpu:.2f} s of processor, "
                f"the supplier's {one.supplier_cpu:.2f}"
            )
    return found


def measure(items: int, rounds: int, chosen: list[str]) -> Section:
    """The table of all ways that were chosen. Raises SwitchyardError when ours or the bare loop could not run."""
    ways = [way for name in chosen if name in WAYS for way in WAYS[name]]
    with bench() as made:
        races = Races(made)
        found = race(races, ways, items, rounds)
        sentences = empty.measure(races) if "empty" in chosen else []
    return _section(found, items, rounds, sentences)


def short() -> Section:
    """Ours beside the bare loop and the article's way."""
    return measure(2000, 1, ["ours", "bare", "article"])


def _section(found: dict[Way, list[Found]], items: int, rounds: int, empty_sentences: list[str]) -> Section:
    seconds = {way: statistics.median(one.seconds for one in runs) for way, runs in found.items()}
    limit = min((seconds[way] for way in WAYS["bare"] if way in seconds), default=None)
    rows = []
    for way, runs in found.items():
        cpu = statistics.median(one.cpu for one in runs)
        supplier = statistics.median(one.supplier_cpu for one in runs)
        times = f"{seconds[way] / limit:.2f}" if limit else "—"
        rows.append(
            (way.name, f"{seconds[way]:.2f}", f"{items / seconds[way]:,.0f}", times, f"{cpu:.2f}", f"{supplier:.2f}")
        )
    bars = [
        Bar(way.name, round(value, 2), ours=way in WAYS["ours"])
        for way, value in sorted(seconds.items(), key=lambda x: x[1])
    ]
    return Section(
        title="A workflow of many small items",
        about=f"{items:,} products, each asked for at a supplier that answers after 50 ms and stored, then one callback; two processes for "
        f"each way unless it says otherwise. Medians of {rounds}; {os.cpu_count()} cores, Python {platform.python_version()}.",
        command=_COMMAND,
        columns=("way", "s", "items/s", "x the bare loop", "processor s", "supplier's s"),
        rows=rows,
        sentences=[*_compared(seconds, limit), *empty_sentences],
        charts=[Chart("fan-out", f"{items:,} products at 50 ms: seconds until the callback", bars)] if bars else [],
    )


def _compared(seconds: dict[Way, float], limit: float | None) -> list[str]:
    (ours,) = WAYS["ours"]
    if ours not in seconds:
        return []
    said = []
    if limit:
        said.append(
            f"Ours takes {seconds[ours] / limit:.2f} times as long as the bare loop in one process, at its best."
        )
    for name, words in (("article", "the article's chord"), ("articles", "the article's chord on two workers")):
        if (way := WAYS[name][0]) in seconds:
            said.append(f"It is {seconds[way] / seconds[ours]:.1f} times as fast as {words}.")
    peers = [seconds[way] for name in ("taskiq", "dramatiq") for way in WAYS[name] if way in seconds]
    if peers:
        said.append(f"It is {min(peers) / seconds[ours]:.1f} times as fast as the faster of taskiq and dramatiq.")
    return said


def main() -> int:
    """Measure and print; what is slow is a number, and no error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    known = [*WAYS, "empty"]
    parser.add_argument("--ways", type=lambda text: text.split(","), default=known, help="some of " + ",".join(known))
    chosen = parser.parse_args()
    if unknown := set(chosen.ways) - set(known):
        parser.error(f"--ways: {', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
    # Else a kill would leave the server and the workers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        show(measure(chosen.items, chosen.rounds, chosen.ways))
    except SwitchyardError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
