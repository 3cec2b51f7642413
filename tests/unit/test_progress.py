"""Workflows in, lines or bars on the screen out, until all have ended; and what is said of a report in the end."""

from __future__ import annotations

import io
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import redis
from rich.console import Console

from switchyard import progress
from switchyard.errors import UnknownWorkflow
from switchyard.reports import run
from switchyard.workflows import record


@dataclass(frozen=True)
class Meta:
    """As much of a workflow's record as is shown."""

    state: str = "running"
    done: int = 0
    total: int = 4
    failed: int = 0
    result: Any = None
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Redis:
    """Records that move on with each look; an exception is raised instead of being read."""

    def __init__(self, **looks: list[Meta | Exception]) -> None:
        self.looks = looks
        self.reads: list[str] = []

    def read(self, workflow_id: str) -> Meta:
        self.reads.append(workflow_id)
        found = self.looks[workflow_id]
        meta = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(meta, Exception):
            raise meta
        return meta


WAITING, DONE = Meta("waiting", total=0), Meta("done", done=4)
RUNNING = [Meta(done=n) for n in range(1, 5)]


class Screen:
    """A console that is a terminal, or a file; what was shown on it."""

    def __init__(self, *, terminal: bool) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=terminal, width=200, highlight=False, soft_wrap=True)

    @property
    def shown(self) -> list[str]:
        return self.file.getvalue().splitlines()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass only while somebody sleeps."""
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(progress.time, "sleep", sleep)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def stand_in(monkeypatch: pytest.MonkeyPatch, **looks: list[Meta | Exception]) -> Redis:
    found = Redis(**looks)
    monkeypatch.setattr(record, "read", found.read)
    return found


# --- Until all have ended


@pytest.mark.parametrize("terminal", [True, False])
def test_workflows_are_followed_until_the_last_has_ended(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """Their last records come back by their labels; one that has ended is not asked for again."""
    asked = stand_in(monkeypatch, a=[WAITING, DONE], b=[WAITING, *RUNNING, Meta("failed", reason="r")])
    found = progress.follow_all({"sales": "a", "coupons": "b"}, Screen(terminal=terminal).console)
    assert {label: meta.state for label, meta in found.items()} == {"sales": "done", "coupons": "failed"}
    assert (asked.reads.count("a"), asked.reads.count("b")) == (2, 6)


@pytest.mark.parametrize("terminal", [True, False])
def test_one_workflow_is_followed_as_before(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """Without a label, to its record."""
    stand_in(monkeypatch, a=[WAITING, *RUNNING, DONE])
    screen = Screen(terminal=terminal)
    assert progress.follow("a", screen.console) == DONE  # type: ignore[comparison-overlap]
    assert "done" in "".join(screen.shown[-2:])
    assert ": done" not in "".join(screen.shown)
    if not terminal:
        assert screen.shown == ["waiting: 0 of 0 done, 0 failed", "done: 4 of 4 done, 0 failed"]


def test_nothing_to_follow_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment without reports has none to wait for."""
    stand_in(monkeypatch)
    screen = Screen(terminal=False)
    assert progress.follow_all({}, screen.console) == {}
    assert screen.shown == []


@pytest.mark.parametrize("terminal", [True, False])
def test_a_workflow_that_nobody_knows_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """Its record may have expired."""
    stand_in(monkeypatch, a=[DONE], b=[UnknownWorkflow()])
    with pytest.raises(UnknownWorkflow):
        progress.follow_all({"sales": "a", "coupons": "b"}, Screen(terminal=terminal).console)


# --- What is shown


def test_a_file_gets_a_line_per_workflow_now_and_then_and_one_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its label; what has ended is told once."""
    looks = round(progress.LINE / progress.LOOK)
    a = [WAITING, *[Meta(done=1)] * 2, DONE]
    b: list[Meta | Exception] = [WAITING, *[Meta(done=1)] * looks, *[Meta(done=2)] * looks, Meta("failed", 3, failed=1)]
    stand_in(monkeypatch, a=[*a], b=b)
    screen = Screen(terminal=False)
    progress.follow_all({"sales": "a", "coupons": "b"}, screen.console)
    assert screen.shown[:3] == [
        "sales: waiting: 0 of 0 done, 0 failed",
        "coupons: waiting: 0 of 0 done, 0 failed",
        "sales: done: 4 of 4 done, 0 failed",
    ]
    assert screen.shown[3:] == [
        "coupons: running: 2 of 4 done, 0 failed",
        "coupons: failed: 3 of 4 done, 1 failed",
    ]


def test_a_terminal_gets_a_bar_per_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side, with what has failed."""
    stand_in(monkeypatch, a=[WAITING, *RUNNING, DONE], b=[Meta("failed", 3, failed=1)])
    screen = Screen(terminal=True)
    progress.follow_all({"sales": "a", "coupons": "b"}, screen.console)
    sales, coupons = (next(line for line in reversed(screen.shown) if name in line) for name in ("sales", "coupons"))
    assert "sales: done" in sales
    assert "4/4" in sales
    assert "coupons: failed" in coupons
    assert "3/4" in coupons
    assert "failed 1" in coupons


@pytest.mark.parametrize("terminal", [True, False])
def test_a_redis_that_is_away_is_told_once_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, clock: list[float], terminal: bool
) -> None:
    """What was read goes on from there; nothing is asked more often than each second."""
    away: list[Meta | Exception] = [redis.ConnectionError("refused")] * 5
    asked = stand_in(monkeypatch, a=[DONE], b=[WAITING, *away, Meta(done=1), *away, DONE])
    screen = Screen(terminal=terminal)
    began = clock[0]
    found = progress.follow_all({"sales": "a", "coupons": "b"}, screen.console)
    assert found["coupons"] == DONE  # type: ignore[comparison-overlap]
    assert clock[0] - began >= 10
    told = "Redis does not answer (refused); the work goes on when it is back."
    assert "\n".join(screen.shown).count(told) == 2, "once each time it went away"
    assert asked.reads.count("a") == 1


# --- What is said of reports


def outcome(monkeypatch: pytest.MonkeyPatch, **metas: Meta) -> tuple[int, list[str]]:
    """The exit code, and what is said after they have been followed."""
    monkeypatch.setattr(progress, "follow_all", lambda ids, _: {name: metas[name] for name in ids})
    screen = Screen(terminal=False)
    code = run.follow({name: f"id-{name}" for name in metas}, screen.console)
    return code, [" ".join(line.split()) for line in screen.shown if line.strip()]


def test_a_report_that_was_made_says_its_message_its_numbers_and_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are grouped, text is shown as it is, and brackets are no markup."""
    result = {
        "status": True,
        "message": "[red]GROCERY[/red] sells most.",
        "headline": [
            ["revenue", Decimal("4601234.56")],
            ["units", 1234567],
            ["[/top]", "[b]SOFT DRINKS"],
            ["none", None],
        ],
        "files": ["/srv/sales-2017-0.csv", "/srv/[x]/sales-2017-0.html"],
    }
    code, said = outcome(monkeypatch, sales=Meta("done", result=result))
    assert code == 0
    assert said == [
        "sales: [red]GROCERY[/red] sells most.",
        "revenue 4,601,234.56",
        "units 1,234,567",
        "[/top] [b]SOFT DRINKS",
        "none –",
        "csv /srv/sales-2017-0.csv",
        "html /srv/[x]/sales-2017-0.html",
    ]


@pytest.mark.parametrize(("state", "expected"), [("failed", 2), ("cancelled", 1)])
def test_a_report_that_was_not_made_says_why(monkeypatch: pytest.MonkeyPatch, state: str, expected: int) -> None:
    """The others are told all the same, each by its name; the exit code tells a failure from somebody's wish."""
    result = {"status": True, "message": "All is well.", "headline": [], "files": []}
    code, said = outcome(
        monkeypatch, sales=Meta(state, reason="its callback failed: [why]"), coupons=Meta("done", result=result)
    )
    assert code == expected
    assert said == ["sales was not made: its callback failed: [why]", "coupons: All is well."]


def test_a_path_is_one_line_however_narrow_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be copied whole, from a terminal or from a log."""
    path = "/srv/" + "a-long-folder/" * 10 + "sales.html"
    result = {"status": True, "message": "m", "headline": [], "files": [path]}
    monkeypatch.setattr(progress, "follow_all", lambda *_: {"sales": Meta("done", result=result)})
    screen = Screen(terminal=False)
    screen.console.width = 80
    run.follow({"sales": "a"}, screen.console)
    assert any(path in line for line in screen.shown)
