"""What the runs of all systems come to: medians, the best way of each family, and how ours compares."""

from __future__ import annotations

from bench.numbers import median, number
from bench.section import Bar, Chart, Section
from bench.small_tasks.run import Run
from bench.systems.system import OURS, System

_ABOUT = (
    "A queue is filled, two worker processes are started on two cores, and their first tasks wait at a gate until both are there; "
    "what counts is the time from the first tenth's end to the last task's. `no_op` only notes that it ran, `incr` asks Redis once."
)


class Found:
    """Runs by system, kind of task and round."""

    def __init__(self, systems: list[System], kinds: list[str], tasks: int, rounds: int) -> None:
        self.systems, self.kinds, self.tasks, self.rounds = systems, kinds, tasks, rounds
        self.runs: dict[tuple[str, str], dict[int, Run]] = {}

    def add(self, system: System, kind: str, round_: int, run: Run) -> None:
        """One run."""
        self.runs.setdefault((system.name, kind), {})[round_] = run

    def rate(self, system: System, kind: str) -> float:
        """Its median; 0 if it has not run."""
        return median(run.rate for run in self.runs.get((system.name, kind), {}).values())

    def cost(self, system: System, kind: str) -> float:
        """The same of its processor time."""
        return median(run.cost for run in self.runs.get((system.name, kind), {}).values())

    def ratio(self, one: System, other: System, kind: str) -> float:
        """How many times the tasks of `other` the system `one` runs: the median of the rounds' ratios; 0 without any."""
        ones, others = (self.runs.get((system.name, kind), {}) for system in (one, other))
        return median(ones[at].rate / others[at].rate for at in ones.keys() & others.keys() if others[at].rate)

    def best(self, kind: str) -> dict[tuple[str, str], System]:
        """The fastest way of each family and of what it promises."""
        some = [system for system in self.systems if self.rate(system, kind)]
        some.sort(key=lambda system: self.rate(system, kind))
        return {(system.family, system.delivery): system for system in some}

    def ours(self, kind: str) -> System | None:
        """Our own fastest way."""
        return next((system for system in self.best(kind).values() if system.ours), None)

    def section(self) -> Section:
        """As it is shown."""
        heads = [f"{kind} {what}" for kind in self.kinds for what in ("tasks/s", "µs CPU", "ours ÷ it")]
        return Section(
            title="Small tasks per second",
            about=f"{_ABOUT} {self.tasks:,} tasks a run; “ours ÷ it” is {OURS}'s fastest pool by the row's.",
            command="make bench B=small_tasks",
            columns=["system", *heads, "delivery"],
            rows=[self._row(system) for system in self.systems],
            sentences=[*filter(None, map(self._sentence, self.kinds)), *self._doubts()],
            charts=[self._chart(kind) for kind in self.kinds],
        )

    def _row(self, system: System) -> list[str]:
        cells = [system.name]
        for kind in self.kinds:
            best = self.ours(kind)
            ratio = self.ratio(best, system, kind) if best else 0
            cells += [number(self.rate(system, kind)), number(self.cost(system, kind)), f"{ratio:.2f}" if ratio else ""]
        return [*cells, system.delivery]

    def _sentence(self, kind: str) -> str:
        ours = self.ours(kind)
        if ours is None:
            return ""
        others = [
            f"{self.ratio(ours, other, kind):.2f} times {other.name} ({other.delivery})"
            for other in self.best(kind).values()
            if not other.ours
        ]
        rate = number(self.rate(ours, kind))
        return f"`{kind}`: {ours.name} runs {rate} tasks/s; that is, each at its best, {', '.join(others)}."

    def _doubts(self) -> list[str]:
        return [
            f"{name}, `{kind}`, round {round_ + 1}: {run.oddities.strip()}."
            for (name, kind), runs in self.runs.items()
            for round_, run in runs.items()
            if run.oddities
        ]

    def _chart(self, kind: str) -> Chart:
        bars = [Bar(system.name, self.rate(system, kind), system.ours) for system in self.systems]
        return Chart(f"small-tasks-{kind.replace('_', '-')}", f"{kind}: tasks per second, two processes", bars)
