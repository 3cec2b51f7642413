"""A worker's memory against real processes: who is killed when it is used up, who is not, and who is told."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from switchyard.worker import memory
from switchyard.worker.memory import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MB = 1024**2

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it, others do not"),
    # Python 3.12 warns of forks beside threads; a child here does nothing that another thread could have locked.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


class Children:
    """Children of this process, forked as a prefork pool's are, each with memory of its own."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.pipes: list[int] = []

    def fork(self, megabytes: int) -> int:
        """A child that has filled so much memory, and then waits."""
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:  # pragma: no cover  what a killed process covers is not recorded
            try:
                _fill(megabytes)
                os.write(writer, b"x")
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        self.pids.append(pid)
        self.pipes += [reader, writer]
        assert os.read(reader, 1) == b"x"
        return pid

    def killed(self, pid: int) -> bool:
        """Whether this child has been killed; waits for a kill that is on its way, and for nothing else."""
        if not _pending_or_gone(pid):
            return False
        _, status = os.waitpid(pid, 0)
        self.pids.remove(pid)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    def close(self) -> None:
        """End all of them."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for pipe in self.pipes:
            os.close(pipe)


def _fill(megabytes: int) -> mmap.mmap:
    """Memory that is no other process': an anonymous mapping, every page of it written."""
    held = mmap.mmap(-1, max(megabytes, 1) * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, megabytes * MB, mmap.PAGESIZE):
        held[page] = 1
    _held.append(held)
    return held


_held: list[mmap.mmap] = []


def _pending_or_gone(pid: int) -> bool:
    """A process that has ended, or has a SIGKILL before it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return fields["State"].strip()[0] in "ZX" or bool(pending & 1 << (signal.SIGKILL - 1))


@pytest.fixture
def children() -> Iterator[Children]:
    found = Children()
    yield found
    found.close()
    while _held:
        _held.pop().close()


def used(*pids: int) -> int:
    return sum(map(memory.proportional, (os.getpid(), *pids)))


def look(limit: int, children: list[int], busy: list[int]) -> list[tuple[int, str]]:
    """One look; returns who was told of whom."""
    told: list[tuple[int, str]] = []
    with capture_logs():
        memory._look(limit, Pool(lambda: children, lambda: busy, lambda pid, cause: told.append((pid, cause))))
    return told


# --- How much there is


def test_what_a_process_has_is_what_it_has_filled(children: Children) -> None:
    """To a few megabytes; one that has ended has none."""
    small, large = children.fork(0), children.fork(64)
    for measured in (memory.proportional, memory.resident):
        assert 60 * MB < measured(large) - measured(small) < 68 * MB
    os.kill(large, signal.SIGKILL)
    os.waitpid(large, 0)
    children.pids.remove(large)
    assert memory.proportional(large) == memory.resident(large) == 0


def test_pages_that_processes_share_count_once(children: Children) -> None:
    """What a worker had loaded before it forked is one copy, however many children it has."""
    _fill(64)
    before = used()
    pids = [children.fork(0) for _ in range(4)]
    assert sum(map(memory.resident, pids)) > 4 * 64 * MB, "each of them sees all of it"
    assert used(*pids) < before + 64 * MB, "together they have little more than before"


# --- Who is killed


def test_nothing_happens_within_the_limit(children: Children) -> None:
    """However large one of them is."""
    pids = [children.fork(64), children.fork(0)]
    assert look(used(*pids) + 16 * MB, pids, pids) == []
    assert [children.killed(pid) for pid in pids] == [False, False]


def test_beyond_the_limit_the_largest_of_those_at_work_is_killed(children: Children) -> None:
    """Its pid and the reason are told first; the others go on."""
    small, large, middle = pids = [children.fork(16), children.fork(64), children.fork(32)]
    limit = used(*pids) - 8 * MB
    ((told, cause),) = look(limit, pids, pids)
    assert told == large
    own, whole = (int(word) for word in cause.split() if word.isdigit())
    assert 64 <= own < 64 + memory.resident(os.getpid()) // MB
    assert whole == limit // MB
    assert cause == f"it had {own} MB when its queue's memory of {whole} MB was used up"
    assert children.killed(large)
    assert not children.killed(small)
    assert not children.killed(middle)


@pytest.mark.parametrize("busy", [True, False])
def test_a_child_that_waits_for_work_is_left_alone(children: Children, busy: bool) -> None:
    """However large: its memory comes back with no task's end. With nobody at work, nobody is killed."""
    idle, working = pids = [children.fork(64), children.fork(16)]
    told = look(used(*pids) - 8 * MB, pids, [working] if busy else [])
    assert [pid for pid, _ in told] == ([working] if busy else [])
    assert children.killed(working) == busy
    assert not children.killed(idle)


def test_shared_pages_alone_are_no_reason_to_kill(children: Children) -> None:
    """The resident sizes together are far beyond the limit, what is really used is not."""
    _fill(64)
    pids = [children.fork(1) for _ in range(4)]
    limit = used(*pids) + 16 * MB
    assert sum(map(memory.resident, [os.getpid(), *pids])) > limit + 64 * MB
    assert look(limit, pids, pids) == []
    assert not any(children.killed(pid) for pid in pids)


def test_the_main_process_counts_and_is_never_killed(children: Children) -> None:
    """It is the largest here, and what it has is used up all the same."""
    _fill(64)
    child = children.fork(1)
    ((told, _),) = look(used(child) - 8 * MB, [child], [child])
    assert told == child
    assert children.killed(child)


def test_a_process_of_somebody_elses_is_never_killed(children: Children) -> None:
    """A task may have ended with its child, whose pid is another's by now."""
    child, other = children.fork(16), children.fork(64)
    assert look(used(child) - 8 * MB, [child], [other]) == []
    assert not children.killed(child)
    assert not children.killed(other)


def test_a_child_is_killed_also_when_nobody_can_be_told(children: Children) -> None:
    """Redis may be away; memory does not wait for it."""
    child = children.fork(32)

    def fail(*_: object) -> None:
        raise ConnectionError

    with capture_logs(), pytest.raises(ConnectionError):
        memory._look(used(child) - 8 * MB, Pool(lambda: [child], lambda: [child], fail))
    assert children.killed(child)


# --- The watch

WATCHED = """
import mmap, os, sys, time
from switchyard.worker import memory

MB = 1024**2
told = []
looks = 0

def children():
    global looks
    looks += 1
    if looks == 1:
        raise RuntimeError("a pool that is just being changed")
    return pids

def fork(grows):
    if (pid := os.fork()) == 0:
        held = []
        while grows:
            held.append(mmap.mmap(-1, MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            held[-1].write(b"x" * MB)
            time.sleep(0.002)
        while True:
            time.sleep(60)
    return pid

pids = []
growing, idle = fork(True), fork(False)
pids += [growing, idle]
limit = sum(map(memory.proportional, [os.getpid(), idle])) + 96 * MB
memory.watch(limit, memory.Pool(children, lambda: [growing, idle], lambda pid, cause: told.append(pid)))
_, status = os.waitpid(growing, 0)
try:
    os.kill(idle, 0)
finally:
    os.kill(idle, 9)
os.waitpid(idle, 0)
assert os.waitstatus_to_exitcode(status) == -9, status
assert told == [growing], told
assert looks > 1
print("ended")
"""


def test_a_child_that_grows_is_killed_by_the_watch(python: Callable[..., str]) -> None:
    """In a thread of its own, which goes on after a look that failed and ends with its process."""
    assert "ended" in python(WATCHED)
