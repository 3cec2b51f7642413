"""A drill of workflows whose worker is killed in each of their phases: every one ends, with one result for each item."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from bench.drills.kind import Options
from bench.drills.ledger import LEDGER
from bench.drills.outcome import Outcome
from bench.drills.site import SLOTS, Site, patiently
from redis import Redis

from switchyard.workflows.record import ENDED, meta_key, results_key

#: Seconds in which a workflow must end whose worker was killed once.
ENDS = 90.0
START = """
from switchyard.producer import app
from switchyard.workflows import start
print(start(app, {task!r}, items={items}))
"""


def workflows(site: Site, options: Options) -> list[Outcome]:
    """Start a workflow, kill its worker while it starts, publishes, runs, joins or calls back, and start another one. Again and again."""
    for pool in options.pools:
        site.start(pool)
    site.ready()
    runs: dict[str, list[Run]] = {pool: [] for pool in options.pools}
    for number in range(options.rounds):
        pool = options.pools[number % len(options.pools)]
        phase = list(PHASES)[number // len(options.pools) % len(PHASES)]
        site.say(f"run {number + 1} of {options.rounds}: killed while {phase}")
        runs[pool].append(Run(site, pool, options.items, phase))
    return [_judged(site, pool, runs[pool], options.items) for pool in options.pools]


class Run:
    """A workflow, from its start over the kill to its end; `hit` if it had not ended before, `took` is the seconds from then to the end."""

    def __init__(self, site: Site, pool: str, items: int, phase: str) -> None:
        self.site, self.items, self.phase = site, items, phase
        self.id = site.deployment.python(
            START.format(task=f"drill.{pool}.spread", items=items),
            **{k: v for k, v in site.environment.items() if k != LEDGER},
        )
        self.hit = patiently(lambda: PHASES[phase](self) or self.ended(), 60) and not self.ended()
        killed = site.kill(site.workers[pool][0])
        site.start(pool)
        self.over = patiently(self.ended, ENDS)
        self.took = time.monotonic() - killed.at
        site.ready(pool)

    @property
    def meta(self) -> dict[str, str]:
        """The fields of its record."""
        return cast("dict[str, str]", self.client.hgetall(meta_key(self.id)))

    @property
    def client(self) -> Redis:
        """A client of the database that has the records."""
        return self.site.server.client(1)

    def ended(self) -> bool:
        """Whether it has, one way or another."""
        return self.meta.get("state") in ENDED

    def calls(self) -> list[dict[str, object]]:
        """What its callback has told the outside, each time it ran."""
        return [call for call in calls(self.site) if call["id"] == self.id]

    def results(self) -> int:
        """Recorded results of items."""
        chunks = range(int(self.meta.get("chunks") or 0))
        return sum(cast("int", self.client.hlen(results_key(self.id, chunk))) for chunk in chunks)


#: When to strike: each as soon as a look at the record, or at what the callback has written, says so.
PHASES: dict[str, Callable[[Run], object]] = {
    "starting": lambda run: run.meta.get("state") == "starting",
    "publishing": lambda run: run.meta.get("state") == "running",
    "running": lambda run: int(run.meta.get("done") or 0) > run.items // 3,
    "joining": lambda run: int(run.meta.get("done") or 0) == run.items,
    "calling back": lambda run: run.calls(),
}


def calls(site: Site) -> list[dict[str, object]]:
    """All calls of all callbacks."""
    file = Path(f"{site.folder / 'ledger'}.calls")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _judged(site: Site, pool: str, runs: list[Run], items: int) -> Outcome:
    results = sum(run.results() for run in runs)
    begun = [begins for name, begins in site.ledger.read().begins.items() if name.startswith(f"{pool}.")]
    outcome = Outcome(
        "workflows", pool, site.transport, sum(run.hit for run in runs), accepted=items * len(runs), ran=results,
        again=sum(len(begins) - 1 for begins in begun), twice=0, lost=items * len(runs) - results,
        set_aside=site.dead_letters()[pool], recoveries=[run.took for run in runs],
    )  # fmt: skip
    # A kill repeats the chunks in hand: of each slot one, or less.
    outcome.bound = len(runs) * SLOTS[pool] * 50
    outcome.lose_nothing()
    outcome.must(outcome.blows, "no workflow was hit before it had ended")
    for run in runs:
        which = f"the workflow killed while {run.phase}"
        outcome.must(run.over, f"{which} has not ended in {ENDS:g} s")
        outcome.must(
            not run.over or run.meta.get("state") == "done",
            f"{which} is {run.meta.get('state')}: {run.meta.get('reason')}",
        )
        told = run.calls()
        outcome.must(told, f"{which} has not called back")
        outcome.must(len({call["attempt"] for call in told}) <= 1, f"{which} has called back with more than one key")
        outcome.must(
            all(call["right"] and call["results"] == items for call in told),
            f"{which} has called back with other results",
        )
    return outcome
