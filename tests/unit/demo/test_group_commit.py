"""Many callers, few transactions."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from demo import group_commit
from demo.group_commit import MOST_ROWS, GroupCommit


class Database:
    """Commits rows, except bad ones, and remembers each transaction."""

    def __init__(self):
        self.commits = []

    def write(self, rows):
        for row in rows:
            if row.get("error"):
                raise row["error"]
        self.commits.append([row["id"] for row in rows])


class AwayError(Exception):
    """The database is away."""


@pytest.fixture
def database():
    return Database()


@pytest.fixture
def commits(database):
    return GroupCommit(database.write, blameless=AwayError)


def all_at_once(commits, rows):
    """Save each row from a thread of its own; returns each row's error or None."""
    start = threading.Barrier(len(rows))

    def save(row):
        start.wait()
        try:
            commits.save(row)
        except Exception as exc:
            return exc
        return None

    with ThreadPoolExecutor(len(rows)) as pool:
        return list(pool.map(save, rows))


def test_callers_that_come_together_share_transactions(commits, database, monkeypatch):
    """Every row is committed exactly once, in far fewer transactions than rows."""
    monkeypatch.setattr(group_commit, "GATHER_S", 0.1)
    assert all_at_once(commits, [{"id": number} for number in range(64)]) == [None] * 64
    assert sorted(chain.from_iterable(database.commits)) == list(range(64))
    assert len(database.commits) < 32


def test_a_lone_caller_is_committed_before_save_returns(commits, database):
    """save() returns after the commit, not before."""
    commits.save({"id": 1})
    assert database.commits == [[1]]


def test_a_bad_row_fails_alone(commits, database):
    """Those who shared its transaction are committed, and only its caller hears of it."""
    bad = ValueError("bad row")
    outcomes = all_at_once(commits, [{"id": 0}, {"id": 1, "error": bad}, {"id": 2}])
    assert outcomes == [None, bad, None]
    assert sorted(chain.from_iterable(database.commits)) == [0, 2]


def test_a_database_that_is_away_is_not_asked_again_for_each_row(monkeypatch):
    """When no row is guilty, all callers of the batch hear of it after one attempt."""
    monkeypatch.setattr(group_commit, "GATHER_S", 0.1)
    attempts = []

    def write(rows):
        attempts.append(len(rows))
        raise AwayError

    outcomes = all_at_once(GroupCommit(write, blameless=AwayError), [{"id": number} for number in range(20)])
    assert all(isinstance(outcome, AwayError) for outcome in outcomes)
    assert sum(attempts) == 20


def test_a_batch_has_its_limit_and_the_rest_gets_the_next_leader(database, monkeypatch):
    """More callers than one transaction takes are served by leaders of their own."""
    monkeypatch.setattr(group_commit, "MOST_ROWS", 5)
    commits = GroupCommit(database.write, blameless=AwayError)
    assert all_at_once(commits, [{"id": number} for number in range(32)]) == [None] * 32
    assert sorted(chain.from_iterable(database.commits)) == list(range(32))
    assert max(map(len, database.commits)) <= 5 < MOST_ROWS


def test_a_leader_that_is_stopped_takes_nobody_with_it(database):
    """A time limit or a shutdown in the leader's own write reaches the leader alone; the others are committed."""
    others_wait = threading.Event()
    attempts = []

    def write(rows):
        attempts.append(len(rows))
        if len(attempts) == 1:
            others_wait.wait()
            raise KeyboardInterrupt
        database.write(rows)

    commits = GroupCommit(write, blameless=AwayError)
    stopped = []

    def lead():
        try:
            commits.save({"id": 0})
        except KeyboardInterrupt as exc:
            stopped.append(exc)

    leader = threading.Thread(target=lead)
    leader.start()
    others = [threading.Thread(target=commits.save, args=({"id": number},)) for number in (1, 2)]
    for other in others:
        other.start()
    while len(commits._waiting) + sum(attempts[:1]) < 3:  # all have joined, in the leader's batch or behind it
        time.sleep(0.001)
    others_wait.set()
    for thread in (leader, *others):
        thread.join(timeout=30)
    assert len(stopped) == 1
    assert sorted(chain.from_iterable(database.commits)) == [1, 2]


def test_a_caller_stopped_while_it_waits_is_never_made_leader(commits, database):
    """Leadership goes to callers that are still there, so nobody waits for a dead one."""
    gone = group_commit._Entry({"id": 9})
    commits._leader = busy = group_commit._Entry({"id": 8})
    commits._join(gone)
    commits._leave(gone)
    commits._leave(busy)
    assert commits._leader is None
    commits.save({"id": 1})
    assert database.commits == [[1]]
