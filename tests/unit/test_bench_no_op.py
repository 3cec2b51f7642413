"""What `bench no_op` makes of MONITOR's lines and of what it has measured."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from bench.no_op.monitor import Seen
from bench.no_op.rates import Case, Found
from bench.no_op.workers import Pool
from bench.notes import Begun, begun, note_of
from bench.row import Row


@pytest.mark.parametrize(
    ("line", "sent", "inside"),
    [
        (b'+1700000000.123456 [0 127.0.0.1:50000] "LLEN" "a queue"\r\n', {"LLEN": 1}, {}),
        (b'+1700000000.123456 [0 127.0.0.1:50000] "evalsha" "0a1b" "0"\r\n', {"EVALSHA": 1}, {}),
        (b'+1700000000.123456 [0 lua] "rpop" "a queue"\r\n', {}, {"RPOP": 1}),
        (b'+1700000000.123456 [15 unix:/tmp/redis.sock] "CLIENT" "TRACKING" "ON"\r\n', {"CLIENT": 1}, {}),
        (b'+1700000000.123456 [0 [::1]:50000] "PING"\r\n', {"PING": 1}, {}),
        # a message may say anything
        (b'+1700000000.123456 [0 127.0.0.1:50000] "LPUSH" "q" "[0 lua] \\"GET\\"\\r\\n"\r\n', {"LPUSH": 1}, {}),
        (b"+OK\r\n", {}, {}),
        (b"\r\n", {}, {}),
        (b"-LOADING Redis is loading the dataset in memory\r\n", {}, {}),
    ],
)
def test_a_command_is_counted_as_a_clients_or_as_a_scripts(
    line: bytes, sent: dict[str, int], inside: dict[str, int]
) -> None:
    """By who sent it."""
    seen = Seen()
    seen.add(line)
    assert (dict(seen.sent), dict(seen.inside)) == (sent, inside)


@pytest.mark.parametrize(
    ("row", "required", "met"),
    [
        (Row("", "", 60, 10, at_least=6), "ratio >= 6", True),
        (Row("", "", 59, 10, at_least=6), "ratio >= 6", False),
        (Row("", "", 11, 10, at_most=1.1), "ratio <= 1.1", True),
        (Row("", "", 12, 10, at_most=1.1), "ratio <= 1.1", False),
        # what was not measured is not met
        (Row("", "", 0, 10, at_most=1.1), "ratio <= 1.1", False),
        (Row("", "", 10, 0, at_least=6), "ratio >= 6", False),
        (Row("", "", 2, 1, own_at_most=2), "ours <= 2", True),
        (Row("", "", 2.1, 9, own_at_most=2), "ours <= 2", False),
        (Row("", "", 1, 1), "", None),
    ],
)
def test_a_row_says_whether_it_is_what_was_required(row: Row, required: str, met: bool | None) -> None:
    """Of the ratio, or of ours alone."""
    assert (row.required, row.met) == (required, met)


def test_the_ratio_of_rounds_that_ran_side_by_side_is_their_own() -> None:
    """A round that was slow for both says as much as one that was fast for both; a quotient of medians would mix them."""
    case = Case(Pool("solo", 1), 64, 6)
    case.rounds = [(Found(600, 1.0, 0.1), Found(100, 1.0, 0.1)), (Found(7000, 1.0, 1.0), Found(1000, 1.0, 1.0)),
                   (Found(5, 1.0, 0.1), Found(1, 1.0, 0.1))]  # fmt: skip
    rate, cost = case.rows()
    assert (rate.ours, rate.stock, rate.ratio, rate.met) == (600, 100, 6, True)
    assert cost.ratio == pytest.approx(1 / 6)


def test_a_side_that_did_nothing_has_no_rate_and_no_cost() -> None:
    """And is not divided by."""
    assert (Found().rate, Found().cost) == (0, 0)
    case = Case(Pool("solo", 1), 64, 6)
    case.rounds = [(Found(600, 1.0, 0.1), Found(0, 1.0, 0.1))]
    assert next(case.rows()).met is False


def test_what_was_done_between_two_looks_is_the_difference() -> None:
    """Turns add up."""
    assert Found(5, 12.0, 3.0) - Found(2, 10.0, 2.5) + Found(1, 1.0, 0.5) == Found(4, 3.0, 1.0)


def test_the_processes_of_a_worker_are_one(tmp_path: Path) -> None:
    """Tasks add up, to the last anywhere; a process that has begun none counts as nothing."""
    assert begun(tmp_path, "worker") == Begun(0, 0.0, 0)
    for pid, tasks in ((1, 2), (2, 1), (3, 0)):
        note = note_of(tmp_path, "worker", pid)
        for _ in range(tasks):
            note.add()
    found = begun(tmp_path, "worker")
    assert (found.tasks, found.processes) == (3, 2)
    assert 0 < found.last < time.monotonic()
