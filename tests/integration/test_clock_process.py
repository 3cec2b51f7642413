"""The clock as a process on a real Redis: each slot once, whatever is killed, flushed, full or away."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis
from tests.support import ROOT, Deployment, Server, eventually

from switchyard.events.refused import REFUSED
from switchyard.health import is_beating, ready_file
from switchyard.producer.clock import MEMORY, PROGRAM
from switchyard.workflows.record import INDEX

QUEUES = '[queues.default]\ntasks = ["*"]\npool = "solo"\n'
EVENTS = '[events."a.b"]\nworkflow = "spread"\nparameters = { items = "items?" }\n'
#: A line whose newest slot stays the same while a test runs, but for one that runs through New Year's Eve.
YEARLY = "0 0 1 1 *"
NEW_YEAR = f"{datetime.now(UTC).year}-01-01T00:00:00+00:00"
LONG_AGO = "2020-01-01T00:00:00+00:00"


class Clocks:
    """Clocks of one deployment, and what they have done."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.processes = deployment, list[subprocess.Popen[bytes]]()
        deployment.queues(QUEUES)
        self.events()

    def events(self, schedules: str = "", **tables: str) -> None:
        written = "".join(f'[schedules.{name}]\nevent = "a.b"\n{keys}\n' for name, keys in tables.items())
        (self.deployment.folder / "events.toml").write_text(EVENTS + schedules + written)

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "switchyard", PROGRAM],
                env={**self.deployment.environment, **environment}, cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip
        self.processes.append(started)
        return started

    def started(self, **environment: str) -> subprocess.Popen[bytes]:
        clock = self.start(**environment)
        eventually(lambda: self.beats(clock), f"the clock's first good look: {self.log.read_text()}")
        return clock

    def beats(self, clock: subprocess.Popen[bytes], within_s: float = 15) -> bool:
        return is_beating(self.state, PROGRAM, clock.pid, within_s=within_s)

    def looks(self, clock: subprocess.Popen[bytes], times: int = 2) -> None:
        """Wait until it has looked so often again."""
        for _ in range(times):
            before = ready_file(self.state, PROGRAM).stat().st_mtime_ns
            eventually(lambda before=before: ready_file(self.state, PROGRAM).stat().st_mtime_ns > before, "a look")
        assert clock.poll() is None

    def kill(self) -> None:
        for clock in self.processes:
            clock.kill()
            clock.wait()
        self.processes.clear()

    @property
    def log(self) -> Path:
        return self.deployment.log("clock")

    @property
    def state(self) -> Path:
        return self.deployment.folder / "state"

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.log.read_text().splitlines()) if line["event"] == event]

    def client(self) -> redis.Redis:
        return self.deployment.server.client()

    def remember(self, name: str, line: str, last: str, zone: str = "UTC") -> None:
        self.client().hset(MEMORY, name, json.dumps({"line": f"{line} {zone}", "last": last}))

    def remembered(self, name: str) -> str:
        """The last slot that is done with, in UTC."""
        found = json.loads(self.client().hget(MEMORY, name) or '{"last": "0001-01-01T00:00:00+00:00"}')["last"]
        return datetime.fromisoformat(found).astimezone(UTC).isoformat()

    def workflows(self) -> list[dict[str, str]]:
        ids = self.client().zrange(INDEX, 0, -1)
        return [self.client().hgetall(f"switchyard:workflow:{id_}") for id_ in ids]

    def published(self, queue: str = "default") -> list[str]:
        """The names of the tasks that wait."""
        messages = self.deployment.server.client(0).lrange(queue, 0, -1)
        return [json.loads(message)["headers"]["task"] for message in messages]


@pytest.fixture
def clocks(deployment: Deployment) -> Iterator[Clocks]:
    made = Clocks(deployment)
    yield made
    made.kill()


@pytest.fixture
def own_clocks(own_deployment: Deployment) -> Iterator[Clocks]:
    made = Clocks(own_deployment)
    yield made
    made.kill()


def yearly(**more: str) -> str:
    return "\n".join(f'{key} = "{value}"' for key, value in {"schedule": YEARLY, **more}.items())


# --- What it does


def test_a_missed_slot_is_caught_up_once_and_its_event_names_it(clocks: Clocks) -> None:
    """Source and id are the schedule and the slot, in its zone; data reaches the workflow."""
    clocks.events(new_year=yearly(timezone="Asia/Tokyo") + "\ndata = { items = [1] }")
    clocks.remember("new_year", YEARLY, LONG_AGO, "Asia/Tokyo")
    clocks.looks(clocks.started())
    [workflow] = clocks.workflows()
    assert workflow["event_source"] == "/clock/new_year"
    assert workflow["event_id"] == f"{datetime.now(ZoneInfo('Asia/Tokyo')).year}-01-01T00:00:00+09:00"
    assert (workflow["name"], json.loads(workflow["arguments"]), workflow["state"]) == (
        "spread",
        {"items": [1]},
        "waiting",
    )
    assert clocks.logged("event_accepted")[0]["door"] == "clock"


def test_a_slot_is_told_when_its_moment_comes(clocks: Clocks) -> None:
    """The clock of the wall: within a minute a schedule of each minute tells one."""
    clocks.events(minutely='schedule = "* * * * *"')
    begin = datetime.now(UTC)
    clocks.started()
    eventually(clocks.workflows, "the next minute", timeout=90)
    slot = datetime.fromisoformat(clocks.workflows()[0]["event_id"])
    assert begin < slot <= datetime.now(UTC)
    assert slot.second == 0
    assert float(clocks.workflows()[0]["created"]) - slot.timestamp() < 10


def test_a_new_schedule_or_a_changed_one_tells_nothing_of_the_past(clocks: Clocks) -> None:
    """There was nothing to miss. What is no longer in the config is forgotten."""
    clocks.events(new=yearly(), line_changed=yearly(), zone_changed=yearly(timezone="Asia/Tokyo"), broken=yearly())
    clocks.remember("line_changed", "0 0 2 1 *", LONG_AGO)
    clocks.remember("zone_changed", YEARLY, LONG_AGO)
    clocks.client().hset(
        MEMORY, mapping={"broken": "no JSON", "removed": json.dumps({"line": YEARLY, "last": LONG_AGO})}
    )
    clocks.looks(clocks.started())
    assert clocks.workflows() == []
    assert set(clocks.client().hkeys(MEMORY)) == {
        "new",
        "line_changed",
        "zone_changed",
        "broken",
        "task:switchyard.sweep",
    }
    assert min(map(clocks.remembered, clocks.client().hkeys(MEMORY))) > NEW_YEAR


def test_a_schedule_that_skips_tells_nothing_that_was_missed(clocks: Clocks) -> None:
    """And says so, once."""
    clocks.events(new_year=yearly(missed="skip"))
    clocks.remember("new_year", YEARLY, LONG_AGO)
    clocks.looks(clocks.started())
    assert clocks.workflows() == []
    assert [(line["schedule"], line["slot"]) for line in clocks.logged("schedule_skipped")] == [("new_year", NEW_YEAR)]
    assert clocks.remembered("new_year") == NEW_YEAR


TELL = """
from switchyard.events.acceptance import accept
from switchyard.events.event import Event
accept([Event(specversion="1.0", id={id!r}, source="/clock/bad", type="a.b", data={{"items": [9]}})], door="clock")
"""


def test_a_refused_event_is_kept_and_stops_no_other(clocks: Clocks) -> None:
    """Here because the slot was told with other data before; it is kept once, with the reason."""
    clocks.events(bad=yearly(), good=yearly())
    for name in ("bad", "good"):
        clocks.remember(name, YEARLY, LONG_AGO)
    clocks.deployment.python(TELL.format(id=NEW_YEAR))
    clocks.looks(clocks.started())
    assert sorted(workflow["event_source"] for workflow in clocks.workflows()) == ["/clock/bad", "/clock/good"]
    assert len(clocks.logged("event_refused")) == 1
    [kept] = map(json.loads, clocks.client().lrange(REFUSED, 0, -1))
    assert "accepted before" in kept["reason"]
    assert json.loads(base64.b64decode(kept["body"]))["source"] == "/clock/bad"
    assert clocks.remembered("bad") == NEW_YEAR


# --- Exactly once


def test_killed_between_telling_and_remembering_it_starts_nothing_twice(own_clocks: Clocks) -> None:
    """This one may tell, and may not remember; whoever comes after it tells the same event again."""
    clocks = own_clocks
    clocks.events(new_year=yearly())
    clocks.remember("new_year", YEARLY, LONG_AGO)
    clocks.remember("task:switchyard.sweep", "* * * * *", LONG_AGO)  # or it would have to remember its first sight
    port = clocks.deployment.server.port
    clocks.client().execute_command(
        *f"ACL SETUSER forgetful on >of-this-test +@all %R~{MEMORY} ~switchyard:workflow* ~switchyard:outbox*".split()
    )
    forgetful = clocks.start(CELERY_RESULT_BACKEND=f"redis://forgetful:of-this-test@127.0.0.1:{port}/1")
    eventually(clocks.workflows, "the event to be told")
    eventually(lambda: len(clocks.logged("redis_awaited")) > 1, "it to try again")
    assert not clocks.beats(forgetful)
    forgetful.kill()
    assert clocks.remembered("new_year") == LONG_AGO

    clocks.looks(clocks.started())
    assert len(clocks.workflows()) == 1
    assert len(clocks.logged("event_accepted")) == 1
    assert clocks.logged("event_repeated")
    assert clocks.remembered("new_year") == NEW_YEAR


def test_clocks_that_run_together_and_are_killed_at_random_start_nothing_twice(clocks: Clocks) -> None:
    """Two at a time, each time with the memory of before the slot, each killed as soon as one has told."""
    clocks.events(**{f"s{n}": yearly() for n in range(20)})
    for delay in (0, 0.001, 0.003, 0.01):
        for n in range(20):
            clocks.remember(f"s{n}", YEARLY, LONG_AGO)
        clocks.start()
        clocks.start()
        told = clocks.client().zcard(INDEX)
        eventually(
            lambda told=told: clocks.client().zcard(INDEX) > told or clocks.remembered("s0") == NEW_YEAR, "a telling"
        )
        time.sleep(delay)  # the point of the kill is what differs
        clocks.kill()
    clocks.looks(clocks.started())
    assert sorted(workflow["event_source"] for workflow in clocks.workflows()) == sorted(
        f"/clock/s{n}" for n in range(20)
    )


def test_a_flushall_makes_a_running_clock_forget_nothing(clocks: Clocks) -> None:
    """It tells nothing again, and writes down what it knows: the next clock goes on from there."""
    clocks.events(new_year=yearly())
    clocks.remember("new_year", YEARLY, LONG_AGO)
    clock = clocks.started()
    clocks.looks(clock)
    clocks.client().flushall()
    eventually(lambda: clocks.remembered("new_year") == NEW_YEAR, "the memory to be back")
    clocks.looks(clock)
    assert clocks.workflows() == []


LOOKS = """
import json
from datetime import datetime
from switchyard.producer.alarms import of_schedules
from switchyard.producer.clock import Clock
from switchyard.events.acceptance import event_config
clock = Clock(of_schedules(event_config().schedules, "UTC"))
for now in json.loads({moments!r}):
    clock.look(datetime.fromisoformat(now))
"""


def test_a_wall_clock_that_jumps_tells_no_slot_twice_and_goes_on(clocks: Clocks) -> None:
    """Set back over a slot, and over days; then on by days. Each slot is told once, and none after a return is lost."""
    clocks.events(nightly='schedule = "0 2 * * *"')
    moments = ["2026-11-21T12:00:00+00:00", "2026-11-22T02:00:01+00:00", "2026-11-22T01:59:00+00:00",
               "2026-11-22T02:00:01+00:00", "2026-11-25T12:00:00+00:00", "2026-11-22T12:00:00+00:00",
               "2026-11-23T02:00:01+00:00", "2026-11-24T02:00:01+00:00", "2026-11-25T02:00:01+00:00"]  # fmt: skip
    clocks.deployment.python(LOOKS.format(moments=json.dumps(moments)))
    assert sorted(workflow["event_id"] for workflow in clocks.workflows()) == [
        f"2026-11-{day}T02:00:00+00:00" for day in (22, 23, 24, 25)
    ]


# --- Redis away, queues full


def test_it_outwaits_redis_and_catches_up(own_clocks: Clocks) -> None:
    """Without a sign of life meanwhile, at the start as well as later."""
    clocks, server = own_clocks, own_clocks.deployment.server
    clocks.events(new_year=yearly())
    clocks.remember("new_year", YEARLY, LONG_AGO)
    server.kill()
    clock = clocks.start()
    eventually(lambda: len(clocks.logged("redis_awaited")) > 2, "it to wait")
    assert not clocks.beats(clock)
    waits = [line["wait_s"] for line in clocks.logged("redis_awaited")]
    assert waits[:3] == [2, 4, 5]
    server.start()
    eventually(lambda: clocks.remembered("new_year") == NEW_YEAR, "the slot to be told")
    eventually(lambda: clocks.beats(clock), "a sign of life")
    server.kill()
    eventually(lambda: not clocks.beats(clock, within_s=4), "its silence")
    server.start()
    eventually(lambda: clocks.beats(clock, within_s=4), "a sign of life")
    assert len(clocks.workflows()) == 1


def test_an_event_whose_queue_is_full_is_told_when_there_is_room(clocks: Clocks) -> None:
    """It was on time, so `skip` does not skip it; other schedules are told meanwhile."""
    clocks.deployment.queues(f'{QUEUES}max_waiting = 1\n[queues.other]\ntasks = ["other"]\npool = "solo"\n')
    clocks.events(
        f'[events."o"]\nworkflow = "other"\n[schedules.free]\nevent = "o"\nschedule = "{YEARLY}"\n', full=yearly()
    )
    for name in ("full", "free"):
        clocks.remember(name, YEARLY, LONG_AGO)
    broker = clocks.deployment.server.client(0)
    broker.lpush("default", "{}")
    clock = clocks.started()
    clocks.looks(clock)
    assert [workflow["event_source"] for workflow in clocks.workflows()] == ["/clock/free"]
    assert len(clocks.logged("schedule_delayed")) == 1
    broker.delete("default")
    clocks.deployment.server.client().delete("switchyard:outbox")  # as the starter, which does not run here, would
    eventually(lambda: len(clocks.workflows()) == 2, "the other to be told")


# --- Chores


def test_the_sweep_and_the_pruning_of_each_report_are_published(clocks: Clocks) -> None:
    """By name, to the queue that takes them; one of each for all that was missed."""
    clocks.deployment.queues(f'{QUEUES}[reports.trials]\nmodule = "project.reports.trials"\n')
    clocks.remember("task:switchyard.sweep", "* * * * *", LONG_AGO)
    clocks.remember("task:reports.trials.prune", "45 3 * * *", LONG_AGO)
    clocks.looks(clocks.started(), times=3)
    # Or the minute has turned meanwhile.
    assert set(clocks.published()) == {"switchyard.sweep"}
    assert len(clocks.published()) <= 2
    assert set(clocks.published("trials_report_queue")) == {"reports.trials.prune"}
    assert len(clocks.published("trials_report_queue")) <= 2


def test_a_chore_that_the_broker_cannot_take_is_tried_again_and_comes_once(clocks: Clocks, tmp_path: Path) -> None:
    """Events go on meanwhile: their records are in another Redis."""
    clocks.events(new_year=yearly())
    clocks.remember("new_year", YEARLY, LONG_AGO)
    clocks.remember("task:switchyard.sweep", "* * * * *", LONG_AGO)
    broker = Server(tmp_path / "broker")
    broker.folder.mkdir()
    clock = clocks.start(CELERY_BROKER_URL=f"redis://127.0.0.1:{broker.port}/0")
    eventually(lambda: len(clocks.logged("redis_awaited")) > 1, "it to try again")
    assert len(clocks.workflows()) == 1
    assert not clocks.beats(clock)
    broker.start()
    try:
        eventually(lambda: broker.client(0).llen("default"), "the sweep")
        eventually(lambda: clocks.beats(clock), "a sign of life")
        clocks.looks(clock)
        assert broker.client(0).llen("default") <= 2
    finally:
        clocks.kill()
        broker.kill()


# --- Its end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_cleanly(clocks: Clocks, number: int) -> None:
    """Exit code 0, nothing to be seen in the log."""
    clock = clocks.started()
    clock.send_signal(number)
    assert clock.wait(10) == 0
    assert "Traceback" not in clocks.log.read_text()


def test_a_signal_ends_it_while_redis_hangs(own_clocks: Clocks) -> None:
    """A Redis that takes connections and answers nothing."""
    clock = own_clocks.started()
    server = own_clocks.deployment.server.process
    assert server is not None
    server.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: not own_clocks.beats(clock, within_s=3), "it to hang")
        clock.terminate()
        assert clock.wait(12) == 0
    finally:
        server.send_signal(signal.SIGCONT)


def test_schedules_that_are_none_are_refused_with_a_sentence(clocks: Clocks) -> None:
    """At its start, and not at the first slot."""
    clocks.events(bad='schedule = "daily"')
    assert clocks.start().wait(30) == 1
    assert "schedules.bad.schedule: expected a cron line of five fields" in " ".join(clocks.log.read_text().split())
