"""What benches make of what they have measured: medians, ratios, verdicts, a page and its pictures."""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from contextlib import nullcontext
from pathlib import Path

import bench.__main__ as everything
import pytest
from bench import page
from bench.footprint.__main__ import Found as Footprint
from bench.footprint.__main__ import section as footprint_section
from bench.footprint.programs import programs
from bench.growth.__main__ import section as growth_section
from bench.growth.workflow import Grown
from bench.latency.found import Found as Waits
from bench.names import numbers, some_of
from bench.notes import FOLDER, GATE, NAME, arrived, begun, note
from bench.numbers import median, number, p99
from bench.row import Row
from bench.section import Bar, Chart, Section
from bench.small_tasks.found import Found
from bench.small_tasks.run import Run
from bench.svg import drawn
from bench.systems.catalogue import everybody, ours, peers, stock

from switchyard.errors import SwitchyardError


def test_percentiles_of_nothing_are_zero() -> None:
    """A bench that could not measure one thing still says the others."""
    assert (median([]), p99([]), p99([5.0])) == (0, 0, 0)


def test_percentiles_are_those_of_the_waits_themselves() -> None:
    """None is beyond the longest."""
    waits = [float(n) for n in range(1, 101)]
    assert (median(waits), p99(waits)) == (50.5, pytest.approx(99.01))
    assert p99([1.0, 2.0]) <= 2.0


@pytest.mark.parametrize(("value", "text"), [(0, "0.00"), (1.234, "1.23"), (99.994, "99.99"), (1234.5, "1,234")])
def test_a_number_has_as_many_digits_as_mean_something(value: float, text: str) -> None:
    assert number(value) == text


def test_some_of_what_there_is_comes_in_the_order_in_which_it_is_known() -> None:
    assert some_of(["solo", "gevent"])("gevent,solo") == ["solo", "gevent"]


def test_what_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="eventlet: expected some of solo, gevent"):
        some_of(["solo", "gevent"])("solo,eventlet")


def test_numbers_are_read_or_refused() -> None:
    assert numbers("10,1000") == [10, 1000]
    with pytest.raises(argparse.ArgumentTypeError, match="'10,x': expected whole numbers"):
        numbers("10,x")


SECTION = Section(
    title="Small",
    about="What was done.",
    command="make bench B=small",
    columns=["what", "tasks/s"],
    rows=[["a | b", "1,000"], ["c", "2"]],
    sentences=["`a` is faster, " + "as many words say " * 8 + "in all."],
    charts=[Chart("small", "tasks < per > second", [Bar("a & b", 1000, ours=True), Bar("c", 2), Bar("none", 0)])],
)


def test_a_section_is_written_with_its_table_its_sentences_and_its_pictures(tmp_path: Path) -> None:
    """As other pages are: lines of 120, and a table that no cell breaks."""
    written = page.write([SECTION], "2 cores", tmp_path).read_text()
    assert "## Small\n\nWhat was done. Its long form: `make bench B=small`.\n" in written
    assert "| what | tasks/s |\n| --- | ---: |\n| a \\| b | 1,000 |\n| c | 2 |\n" in written
    assert "![tasks < per > second](images/small.svg)" in written
    assert "Measured with 2 cores." in written
    assert (tmp_path / "images" / "small.svg").exists()
    assert max(map(len, written.splitlines())) <= 132
    assert "- `a` is faster, " in written


def test_what_could_not_be_measured_is_said_and_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a fork has deleted is not missed."""

    def alone(name: str) -> Section:
        if name == "no_op":
            raise SwitchyardError("no worker")
        return SECTION

    monkeypatch.setattr(everything, "SECTIONS", ("small_tasks", "no_op", "deleted"))
    monkeypatch.setattr(everything, "ROOT", tmp_path)
    monkeypatch.setattr(everything.alone, "short", alone)
    monkeypatch.setattr(everything, "bench", nullcontext)
    monkeypatch.setattr(everything.Machine, "sentence", lambda *_: "2 cores")
    assert everything.main() == 1
    written = (tmp_path / "docs" / "performance.md").read_text()
    assert "Measured with 2 cores. Not measured this time: no_op." in written
    assert written.count("## ") == 1


def test_a_bench_runs_in_a_process_of_its_own() -> None:
    """Which comes as far as the bench: of one that is not there, it says so."""
    with pytest.raises(ModuleNotFoundError, match=r"bench\.deleted"):
        everything.alone.short("deleted")


def test_a_chart_is_well_formed_and_its_longest_bar_fills_it() -> None:
    """Whatever the labels are; a bar of nothing has no length, and ours has a colour of its own."""
    picture = ET.fromstring(drawn(SECTION.charts[0]))
    bars = [rect for rect in picture.iter("{http://www.w3.org/2000/svg}rect") if rect.get("class") != "panel"]
    assert [bar.get("class") for bar in bars] == ["ours", "other", "other"]
    first, second, none = (float(bar.get("width") or -1) for bar in bars)
    assert first > 100 * second > 0
    assert none == 0
    assert "a & b" in [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_a_chart_without_any_measure_is_drawn_all_the_same() -> None:
    ET.fromstring(drawn(Chart("x", "x", [Bar("a", 0)])))
    ET.fromstring(drawn(Chart("x", "x", [])))


def test_every_system_has_a_database_of_its_own_family() -> None:
    """Several run at once in a round of waits; only ours and those of one pool after another share one."""
    databases = [system.database for system in [ours("solo", 1), stock("solo", 1), *peers(1)]]
    assert len({*databases}) == len(databases)
    assert 1 not in databases  # where the counter is


def test_names_of_systems_are_unique() -> None:
    """They are keys."""
    for workers in (1, 2):
        names = [system.name for system in everybody(workers)]
        assert len({*names}) == len(names)
    names = [program.name for program in programs()]
    assert len({*names}) == len(names)


def small_tasks() -> Found:
    systems = [ours("solo", 2), ours("gevent", 2), stock("solo", 2), *peers(2)]
    found = Found(systems, ["no_op"], tasks=1000)
    for round_, drift in enumerate((1, 10)):
        rates = [3000, 1000, 1000, 100, 2000, 500, 4000]
        for system, rate in zip(systems, rates, strict=False):
            found.add(system, "no_op", round_, Run(rate * drift, 100, more=-2 if rate == 500 else 0))
    return found


def test_the_best_way_of_each_promise_is_compared() -> None:
    """What acknowledges nothing is not the best of what does; a round that was fast for all changes no ratio."""
    section = small_tasks().section()
    (sentence, *doubts) = section.sentences
    assert "Switchyard, solo -c 1 × 2 runs 16,500 tasks/s" in sentence
    assert "3.00 times Celery, solo -c 1 × 2" in sentence
    assert "1.50 times dramatiq, gevent -p2 -t100 (at least once)" in sentence
    assert "6.00 times taskiq, stream -w2 (at least once)" in sentence
    assert "0.75 times taskiq, list -w2 (at most once)" in sentence
    assert "huey" not in sentence  # it has not run
    assert doubts == [
        "taskiq, stream -w2, `no_op`, round 1: (-2 TASKS).",
        "taskiq, stream -w2, `no_op`, round 2: (-2 TASKS).",
    ]
    assert [len(row) for row in section.rows] == [len(section.columns)] * 8


def test_waits_are_met_beside_celerys_on_the_same_pool() -> None:
    pair = [ours("solo", 1), stock("solo", 1)]
    found = Waits([pair], [*peers(1)], messages=2)
    found.add(pair[0].name, [1.0, 2.0])
    found.add(pair[1].name, [1.5, 1.5])
    section = found.section()
    assert section.rows[0][3:] == ["1.00", "ratio <= 1", "yes", "1.33", "ratio <= 1.2", "NO"]
    assert [len(row) for row in section.rows] == [len(section.columns)] * 7


def test_a_larger_workflow_is_measured_against_the_smallest() -> None:
    grown = [Grown(100, 1.0, 10.0, 60 * 1024**2, 50 * 1024**2), Grown(1000, 13.0, 10.0, 61 * 1024**2, 50 * 1024**2)]
    section = growth_section(grown, [Row("a queue", "tasks/s", 96, 100, at_least=0.95)])
    assert section.rows[0][-2:] == ("", "")
    assert section.rows[3] == ("1,000 items: time of each", "µs", "13,000", "10,000", "1.30", "ratio <= 1.2", "NO")
    assert section.rows[-1][-1] == "yes"
    assert section.sentences[0].startswith("10 times the items take 13 times the time")


def test_a_program_that_did_not_start_is_left_out() -> None:
    solo, other = programs()[0], programs()[-1]
    section = footprint_section({solo: Footprint([50.0, 60.0], [1.0, 2.0], [0.5, 0.5]), other: Footprint()})
    assert section.rows == [[solo.name, "55.00", "1.50", "0.50"]]


def test_tasks_wait_at_their_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is there before its first task is counted, and counts once its gate is open."""
    gate = tmp_path / "gate"
    monkeypatch.setenv(NAME, "worker")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(GATE, str(gate))
    monkeypatch.setattr("bench.notes.time.sleep", lambda _: (seen.append(arrived(tmp_path, "worker")), gate.touch()))
    seen: list[int] = []
    note()
    assert seen == [1]
    assert begun(tmp_path, "worker").tasks == 1
