"""A report of one's own, as docs/reports.md has it: one command, twenty lines, and what `make report` then says."""

from __future__ import annotations

import csv
import re
from pathlib import Path


def files_of(said: str) -> list[Path]:
    """The files that `make report` names."""
    return [Path(line.split(maxsplit=1)[1].strip()) for line in said.splitlines() if line.startswith(("csv ", "html "))]


def tutorial(checkout) -> str:
    """The module that docs/reports.md tells a newcomer to write."""
    return re.search(r"```python\n(.*?)```", (checkout.folder / "docs" / "reports.md").read_text(), re.DOTALL)[1]


def test_a_new_report_runs_at_once_and_then_says_what_it_is_told_to(up):
    """`make new-report`, `make up`, `make report`; the test it wrote; then the tutorial's module, noticed by `make up`."""
    before = {program: pid for program, pid in up.pids().items() if program != "clock"}
    said = up.ok("new-report", "NAME=returns")
    assert "services/demo/tasks/reports/returns.py" in said
    up.ok("render", "CHECK=1")
    up.ok("up")

    # Nothing has restarted for it but the clock, which has one more report's old artefacts to think of.
    assert before.items() <= up.pids().items()
    assert {"worker-returns_aggregator_queue", "worker-returns_report_queue"} <= set(up.states())
    made = up.ok("report", "R=returns")
    assert re.search(r"^words +21$", made, re.MULTILINE)
    assert [file.is_file() for file in files_of(made)] == [True, True]
    assert "2 passed" in up.ok("test", "T=tests/unit/test_report_returns.py")
    narrowed = up.ok("report", "R=returns", "ARGS=least=3")
    assert files_of(narrowed) != files_of(made)

    (up.folder / "services" / "demo" / "tasks" / "reports" / "returns.py").write_text(tutorial(up))
    up.ok("up")
    said = up.ok("report", "R=returns")
    assert re.search(r"^returns +8,869$", said, re.MULTILINE)
    table = next(file for file in files_of(said) if file.suffix == ".csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    assert (len(rows), sum(int(row["lines"]) for row in rows)) == (12, 1_469_307)


def test_a_new_report_that_cannot_be_written_changes_nothing(up):
    """A bad name, a taken one: a sentence, and the checkout is as it was."""
    toml = (up.folder / "config" / "queues.toml").read_text()
    for name, sentence in (
        ("Returns", "bad name"),
        ("sales", "There is a report 'sales' already"),
        ("class", "Python"),
    ):
        refused = up.make("new-report", f"NAME={name}")
        assert refused.returncode != 0
        assert sentence in refused.stdout
        assert "Traceback" not in refused.stdout
    assert (up.folder / "config" / "queues.toml").read_text() == toml


def test_make_report_says_what_is_wrong_with_what_was_asked(up):
    """An unknown report, parameter, period or department is a sentence and a failure."""
    for arguments, sentence in (
        ([], "Which report?"),
        (["R=sale"], "Did you mean 'sales'?"),
        (["R=sales", "PERIOD=2016"], "period: the data set has no day of 2016-01-01..2016-12-31."),
        (["R=sales", "PERIOD=May"], "period: expected a year, a month, a day"),
        (["R=sales", "ARGS=department=GROCERIES"], "Did you mean 'GROCERY'?"),
        (["R=sales", "ARGS=perod=2017"], "perod: the report has no such parameter"),
    ):
        refused = up.make("report", *arguments)
        assert refused.returncode != 0
        assert sentence in refused.stdout
        assert "Traceback" not in refused.stdout


def test_the_demos_reports_say_where_they_are(up):
    """Coupons, and a month of one department's sales: a headline each, and two files."""
    coupons = up.ok("report", "R=coupons")
    sales = up.ok("report", "R=sales", "PERIOD=2017-05", "ARGS=department=GROCERY")
    assert re.search(r"^Redemptions +2,102$", coupons, re.MULTILINE)
    assert "GROCERY" in sales
    assert [file.is_file() for said in (coupons, sales) for file in files_of(said)] == [True] * 4
