"""Reports on real workers and a real Redis: made, or ended with the partition that prevented it and why; files whole or absent."""

from __future__ import annotations

import csv
import io
import os
import subprocess
from pathlib import Path

import pytest
from tests.support import eventually, missing

QUEUES = """
[defaults]
pool = "prefork"
concurrency = 2
time_limit = {time_limit}
drain = 5
memory = "{memory}"

[reports.trials]
module = "project.reports.trials"
retries = {retries}
keep = 2

[reports.others]
module = "project.reports.trials"
"""
TRIALS = ("trials_aggregator_queue", "trials_report_queue")
OTHERS = ("others_aggregator_queue", "others_report_queue")


def started(deployment, *queues, time_limit=5, memory="512M", retries=0):
    deployment.queues(QUEUES.format(time_limit=time_limit, memory=memory, retries=retries))
    deployment.start_workers(*queues)
    return deployment


def rows(file: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(Path(file).read_text(encoding="utf-8-sig"))))


def aggregated(deployment) -> list[str]:
    return (deployment.folder / "aggregated").read_text().splitlines()


def test_a_report_is_made_of_its_partitions_in_their_order(deployment, workflow):
    """One table of config and one module: its two workers, its parameters, its files and its headline."""
    started(deployment, *TRIALS)

    ended = workflow(deployment, "reports.trials", partitions="5", period="2017-05", mark="=1+1").wait()

    assert (ended["state"], ended["total"], ended["failed"]) == ("done", 5, 0)
    assert ended["result"]["headline"] == [["partitions", 5], ["mark", "=1+1"]]
    page, table = sorted(ended["result"]["files"], key=lambda file: not file.endswith(".html"))
    assert rows(table) == [["mark", "number"], *[["'=1+1", str(n)] for n in range(5)]]
    text = Path(page).read_text()
    assert all(part in text for part in ("Trials", ended["id"], "2017-05-01", "2017-05-31", "this test"))
    assert Path(page).parent == Path(table).parent == deployment.folder / "state" / "artefacts" / "trials"


@pytest.mark.parametrize(
    ("does", "memory", "why"),
    [
        # what the partition itself does
        ("raises", "512M", "ValueError: on purpose"),
        ("returns a set", "512M", "returned what JSON cannot carry"),
        # what its queue allows
        ("hangs", "512M", "exceeded its time limit of 5 s"),
        ("hangs and hides it", "512M", "exceeded its time limit of 5 s"),
        ("takes all memory", "400M", "its queue's memory of 400 MB was used up"),
        # what nobody foresaw
        ("kills its process", "512M", "its worker was lost each time it ran"),
    ],
)
def test_a_partition_that_fails_ends_its_report_by_name_and_no_other(deployment, workflow, does, memory, why):
    """The workflow ends, says which partition and why, leaves no file; another report is made meanwhile as if nothing was."""
    started(deployment, *TRIALS, *OTHERS, memory=memory)
    failing = workflow(deployment, "reports.trials", does=does)
    other = workflow(deployment, "reports.others", partitions=20)

    ended, made = failing.wait(180), other.wait()

    assert ended["state"] == "failed"
    assert "1 of 3 partitions failed" in ended["reason"]
    assert f"{{'number': 1, 'does': {does!r}, 'mark': ''}}" in ended["reason"]
    assert why in ended["reason"]
    assert not (deployment.folder / "state" / "artefacts" / "trials").exists()
    assert (made["state"], made["failed"]) == ("done", 0)


@pytest.mark.parametrize(
    ("does", "why"),
    [
        # its start is killed three times, its artefact's task six times
        ("starts too large", "task reports.trials did not fan out: its process was killed 3 times"),
        ("ends too large", "its callback was lost 6 times"),
    ],
)
def test_a_report_that_outgrows_its_memory_at_either_end_ends_too(deployment, workflow, does, why):
    """Not only partitions are watched: what comes back for ever is given up, and the reason has the sizes."""
    started(deployment, *TRIALS, memory="400M", time_limit=20)

    ended = workflow(deployment, "reports.trials", does=does).wait(120)

    assert ended["state"] == "failed"
    assert why in ended["reason"]
    assert "its queue's memory of 400 MB was used up" in ended["reason"]
    assert workflow(deployment, "reports.trials").wait()["state"] == "done"


def test_a_partition_that_raises_is_tried_again_as_often_as_its_table_says(deployment, workflow):
    """What was away for a moment costs a second and no report."""
    started(deployment, *TRIALS, retries=1)

    ended = workflow(deployment, "reports.trials", does="raises once").wait()

    assert (ended["state"], ended["failed"]) == ("done", 0)
    assert sorted(aggregated(deployment)) == ["0 ", "1 ", "1 ", "2 "]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        # unknown, unreadable, and refused by the module
        ({"perod": "2017"}, "perod: the report has no such parameter; it takes: does, partitions, mark, period."),
        ({"period": "May"}, "period: expected a year, a month, a day, or two of them"),
        ({"does": "refuses"}, "There is nothing to report on before 2017."),
    ],
)
def test_a_report_that_was_asked_for_badly_says_so_at_once(deployment, workflow, parameters, sentence):
    """In a sentence that quotes the parameter; no partition runs."""
    started(deployment, TRIALS[1])
    ended = workflow(deployment, "reports.trials", **parameters).wait()
    assert ended["state"] == "failed"
    assert ended["reason"].startswith(sentence)


def test_two_runs_at_once_do_not_mix(deployment, workflow):
    """Each has its own rows, all of them, and its own files."""
    started(deployment, *TRIALS)
    runs = {mark: workflow(deployment, "reports.trials", mark=mark, partitions=30) for mark in ("left", "right")}

    ended = {mark: run.wait() for mark, run in runs.items()}

    for mark, meta in ended.items():
        table = next(file for file in meta["result"]["files"] if file.endswith(".csv"))
        assert rows(table)[1:] == [[mark, str(n)] for n in range(30)]
    assert len({file for meta in ended.values() for file in meta["result"]["files"]}) == 4


def test_the_same_report_twice_is_one_artefact_and_the_oldest_go(deployment, workflow):
    """Equal content has an equal name, so a callback that is delivered twice leaves one; beyond `keep` the oldest go."""
    started(deployment, *TRIALS)
    folder = deployment.folder / "state" / "artefacts" / "trials"

    first = workflow(deployment, "reports.trials", mark="a").wait()["result"]["files"]
    assert workflow(deployment, "reports.trials", mark="a").wait()["result"]["files"] == first
    assert len(list(folder.iterdir())) == 2
    for mark in "bc":
        workflow(deployment, "reports.trials", mark=mark).wait()

    assert len({file.stem for file in folder.iterdir()}) == 2
    assert not Path(first[0]).exists()


def test_what_the_module_hands_over_is_checked_before_anything_is_written(deployment, workflow):
    """A row that is too short is named, and there is no file with it in."""
    started(deployment, *TRIALS)
    ended = workflow(deployment, "reports.trials", does="cannot be written").wait()
    assert ended["state"] == "failed"
    assert "1 cell" in ended["reason"]
    assert not list((deployment.folder / "state").rglob("*.csv"))


def test_a_full_disk_is_told_and_leaves_no_half_file(deployment, workflow, tmp_path):
    """A report whose files find no room fails with the folder's name and the reason; with room again it is made."""
    if os.geteuid() != 0:
        missing("the right to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=True)
    try:
        deployment.environment["ARTEFACTS_DIR"] = str(disk)
        started(deployment, *TRIALS)
        ended = workflow(deployment, "reports.trials", partitions=500).wait()
        assert ended["state"] == "failed"
        assert "No space left on device" in ended["reason"]
        assert str(disk) in ended["reason"]
        assert [file for file in disk.rglob("*") if file.is_file()] == []
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert workflow(deployment, "reports.trials", partitions=500).wait()["state"] == "done"
    finally:
        deployment.close()
        subprocess.run(["umount", str(disk)], check=True)


def test_a_killed_worker_loses_no_partition(deployment, workflow):
    """Both workers of a report killed outright: the sweep sends what was lost again, and the report is whole."""
    started(deployment, *TRIALS, time_limit=2)
    run = workflow(deployment, "reports.trials", partitions=200)
    eventually(lambda: int(run.fields().get("done") or 0) > 20, "some partitions to be done")
    deployment.kill_workers()
    for queue in (*TRIALS, "default"):
        deployment.start_worker(queue)

    def swept() -> bool:
        deployment.python("from switchyard.producer import app; app.send_task('switchyard.sweep')")
        return run.fields()["state"] in ("done", "failed")

    eventually(swept, "the report to end", 180)
    assert run.wait()["result"]["headline"][0] == ["partitions", 200]
