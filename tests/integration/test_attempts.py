"""Next attempts of workflows on real workers and a real Redis: what failed runs again, what did not stays, once each."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.calling import Door, event
from tests.integration.test_dead_letters import command
from tests.support import Deployment, eventually, nothing_is_left

POOLS = ["gevent", "prefork", "threads", "solo"]
QUEUES = (
    '[queues.default]\ntasks = ["*"]\nimports = ["project.tasks"]\npool = "{pool}"\nconcurrency = 4\ntime_limit = 30\n'
)
RULES = '[events."thing.happened"]\nworkflow = "spread"\nparameters = { items = "items" }\n'
FAILS = "fails until"


def lines(deployment: Deployment, name: str) -> list[str]:
    """What tasks of the project have noted."""
    file = deployment.folder / name
    return file.read_text().splitlines() if file.exists() else []


def mend(deployment: Deployment) -> None:
    """From now on what failed does not."""
    (deployment.folder / "mended").touch()


def chunks_run(deployment: Deployment) -> int:
    """How many messages of chunks its worker has taken."""
    return len(re.findall(r"Task switchyard\.run_chunk\[[^]]+\] received", deployment.log().read_text()))


def up(deployment: Deployment, pool: str = "threads") -> None:
    """A worker, and the consumer, whose starter publishes attempts."""
    deployment.queues(QUEUES.format(pool=pool))
    deployment.events(RULES)
    deployment.start_worker()
    deployment.start("consumer")


def until_nothing_is_left(deployment: Deployment) -> None:
    """Until every message was acknowledged."""
    client = deployment.server.client(0)
    eventually(lambda: nothing_is_left(client), "every message to be acknowledged")


@pytest.mark.parametrize("pool", POOLS)
def test_a_replay_runs_what_failed_and_calls_back_with_everything_in_order(deployment, workflow, pool):
    """Only the chunks with failed items are published; every other result stays; the key of the callback's call is new."""
    up(deployment, pool)
    items = [[FAILS, "mended", n] if n in (3, 57, 58) else n for n in range(95)]
    started = workflow(deployment, "spread", items=items)
    assert [item for item, _ in started.wait()["failed_items"]] == [items[3], items[57], items[58]]
    until_nothing_is_left(deployment)
    known, chunks = lines(deployment, "begun"), chunks_run(deployment)
    mend(deployment)

    assert started.replay().split()[1] == "2"

    ended = started.wait()
    assert (ended["state"], ended["attempt"], ended["done"], ended["failed"]) == ("done", 2, 95, 0)
    assert ended["result"] == {"results": items, "key": f"{started.id}/2"}
    assert ended["failed_items"] == []
    assert sorted(lines(deployment, "begun")[len(known) :]) == sorted(str(items[n]) for n in (3, 57, 58))
    assert chunks_run(deployment) - chunks == 2
    assert lines(deployment, "called_back") == [f"{started.id}/1 95", f"{started.id}/2 95"]


def test_what_fails_again_can_be_replayed_again(deployment, workflow):
    """As often as somebody likes; the counts are right each time."""
    up(deployment)
    started = workflow(deployment, "spread", items=[0, [FAILS, "mended"], "raises", 3])
    started.wait()
    for attempt in (2, 3):
        started.replay()
        ended = started.wait()
        assert (ended["attempt"], ended["done"], ended["failed"]) == (attempt, 4, 2)
    mend(deployment)
    started.replay()
    ended = started.wait()
    assert (ended["attempt"], ended["done"], ended["failed"]) == (4, 4, 1)
    assert ended["result"]["results"][:2] == [0, [FAILS, "mended"]]
    assert lines(deployment, "begun").count("0") == lines(deployment, "begun").count("3") == 1


def test_an_item_that_was_given_up_for_killing_its_worker_gets_its_chances_again(deployment, workflow):
    """Its begins and its chunk's deliveries are counted anew."""
    up(deployment, "prefork")
    started = workflow(deployment, "spread", items=[0, "kills its process"], chunk_size=2)
    first = started.wait(180)
    begun = lines(deployment, "begun").count("kills its process")
    started.replay()
    ended = started.wait(180)
    assert (ended["attempt"], ended["failed_items"]) == (2, first["failed_items"])
    assert lines(deployment, "begun").count("kills its process") - begun >= 2
    assert lines(deployment, "begun").count("0") <= 2


@pytest.mark.parametrize("callback", ["collect_if_mended", "collect_or_say_false"])
def test_a_callback_that_failed_is_replayed_alone(deployment, workflow, callback):
    """It raised, or said false itself: no item runs again."""
    up(deployment)
    started = workflow(deployment, "spread", items=list(range(25)), callback=callback)
    assert started.wait()["state"] == ("failed" if callback == "collect_if_mended" else "done")
    known = lines(deployment, "begun")
    mend(deployment)

    assert started.replay().split()[1] == "2"

    ended = started.wait()
    assert (ended["state"], ended["attempt"], ended["reason"]) == ("done", 2, "")
    assert ended["result"]["results"] == list(range(25))
    assert ended["result"]["key"] == f"{started.id}/2"
    assert lines(deployment, "begun") == known
    until_nothing_is_left(deployment)
    assert started.replay().endswith("is done, and nothing of it has failed; there is nothing to replay.")


def test_a_callback_that_failed_because_items_did_is_replayed_with_them(deployment, workflow):
    """As that of a report, which makes nothing of partitions that lack one."""
    up(deployment)
    started = workflow(deployment, "spread", items=[0, [FAILS, "mended"], 2], callback="collect_if_mended")
    assert started.wait()["state"] == "failed"
    mend(deployment)
    started.replay()
    assert started.wait()["result"]["results"] == [0, [FAILS, "mended"], 2]
    assert sorted(lines(deployment, "begun")) == sorted(["0", str([FAILS, "mended"]), str([FAILS, "mended"]), "2"])


def test_what_failed_before_it_fanned_out_is_started_again_under_its_id(deployment, workflow):
    """With the same arguments; the attempt that its callback is told is the second."""
    up(deployment)
    started = workflow(deployment, "spread_if_mended", items=[1, 2])
    assert started.wait()["state"] == "failed"
    mend(deployment)

    assert started.replay().split()[1] == "2"

    ended = started.wait()
    assert (ended["state"], ended["attempt"]) == ("done", 2)
    assert ended["result"] == {"results": [1, 2], "key": f"{started.id}/2"}
    assert sorted(lines(deployment, "begun")) == ["1", "2", "the start", "the start"]


def test_the_dead_letter_of_a_start_opens_the_next_attempt(deployment, workflow):
    """Once: its record has ended with the failure, so the message alone would start nothing."""
    up(deployment)
    started = workflow(deployment, "spread_if_mended", items=[1, 2])
    assert started.wait()["state"] == "failed"
    letters = deployment.server.client(0).zcard
    eventually(lambda: letters("switchyard:dead_letters") == 1, "its letter to be kept")
    mend(deployment)

    code, said, _ = command(deployment, "replay", started.id)
    assert (code, said.strip()) == (0, "Replayed: 1.")
    assert command(deployment, "replay", started.id)[0] == 1

    ended = started.wait()
    assert (ended["state"], ended["attempt"]) == ("done", 2)
    assert letters("switchyard:dead_letters") == 0
    assert sorted(lines(deployment, "begun")) == ["1", "2", "the start", "the start"]


def test_replaying_twice_at_once_does_so_once(deployment, workflow):
    """The others are told which attempt is under way; by HTTP, from many sides."""
    up(deployment)
    door = Door(deployment)
    started = workflow(deployment, "spread", items=[0, [FAILS, "mended"], ["waits for", "the end"]])
    (deployment.folder / "the end").touch()
    started.wait()
    until_nothing_is_left(deployment)
    mend(deployment)
    path = f"/v1/workflows/{started.id}/attempts"
    assert door.ask("POST", path, token="wrong").status == 401

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: door.ask("POST", path), range(16)))

    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (1, 15)
    [opened] = [answer for answer in answers if answer.status == 201]
    assert (opened.json["id"], opened.json["attempt"], opened.json["failed"]) == (started.id, 2, 0)
    assert opened.headers["location"] == f"/v1/workflows/{started.id}"
    for answer in answers:
        if answer.status == 409:
            assert answer.headers["content-type"] == "application/problem+json"
            assert re.search("Attempt 2 .* is under way|nothing of it has failed", answer.json["detail"])
    assert started.wait()["attempt"] == 2
    until_nothing_is_left(deployment)
    assert lines(deployment, "called_back") == [f"{started.id}/1 3", f"{started.id}/2 3"]
    assert lines(deployment, "begun").count(str([FAILS, "mended"])) == 2


def test_what_has_no_next_attempt_says_why(deployment, workflow):
    """What waits or runs, was cancelled, has nothing that failed, or whose items have expired."""
    deployment.queues(QUEUES.format(pool="threads"))
    waiting = workflow(deployment, "spread", items=[1])
    assert waiting.replay() == f"refused: Attempt 1 of workflow {waiting.id} is under way: waiting."
    waiting.cancel()
    assert re.search("was cancelled by a test at .*; what somebody has stopped is not replayed", waiting.replay())
    deployment.start_worker()

    whole, alone, failed = (
        workflow(deployment, "spread", items=[1]),
        workflow(deployment, "misbehave", item=1),
        workflow(deployment, "spread", items=[1, "raises", 3], chunk_size=1),
    )
    for each in (whole, alone, failed):
        each.wait()
    assert "nothing of it has failed" in whole.replay()
    assert "has fanned nothing out" in alone.replay()
    client, key = deployment.server.client(), f"switchyard:workflow:{failed.id}"
    client.rename(f"{key}:results:0", "elsewhere")
    assert "has expired; start it anew" in failed.replay()
    client.rename("elsewhere", f"{key}:results:0")
    client.delete(f"{key}:items")
    assert "has expired; start it anew" in failed.replay()
    assert failed.fields()["attempt"] == "1"
    assert client.zcard("switchyard:outbox") == 0
    assert "No workflow has the id" in deployment.python(
        "from switchyard.workflows import replay\ntry:\n    replay('nope')\nexcept Exception as exc:\n    print(exc)"
    )


def test_messages_of_an_older_attempt_are_ignored(deployment, workflow):
    """A chunk, the publishing and the callback of the first, delivered once more while the second runs."""
    up(deployment)
    items = [0, [FAILS, "mended"], ["waits for", "the end"], "raises"]
    started = workflow(deployment, "spread", items=items, chunk_size=4)
    (deployment.folder / "the end").touch()
    started.wait()
    until_nothing_is_left(deployment)
    known = lines(deployment, "begun")
    deployment.kill_workers()
    started.replay()

    deployment.python(
        "from switchyard.producer import app\n"
        f"for name, args in (('run_chunk', [{started.id!r}, 1, 0]), ('publish_chunks', [{started.id!r}, 1]), ('call_back', [{started.id!r}, 1])):\n"
        "    app.send_task('switchyard.' + name, args=args, queue='default')"
    )
    deployment.start_worker()
    until_nothing_is_left(deployment)

    assert lines(deployment, "begun") == known
    assert started.fields()["state"] == "running"
    mend(deployment)
    deployment.start("consumer")
    ended = started.wait()
    assert (ended["attempt"], ended["done"], ended["failed"]) == (2, 4, 1)
    assert lines(deployment, "called_back") == [f"{started.id}/1 4", f"{started.id}/2 4"]


def test_an_attempt_that_nobody_publishes_is_found_by_the_sweep(deployment, workflow):
    """As it is after a loss of the outbox, or where no consumer runs."""
    deployment.queues(QUEUES.format(pool="threads"))
    deployment.start_worker()
    started = workflow(deployment, "spread", items=[0, [FAILS, "mended"]], chunk_size=1)
    started.wait()
    until_nothing_is_left(deployment)
    mend(deployment)
    started.replay()
    client = deployment.server.client()
    client.delete("switchyard:outbox")
    client.hset(f"switchyard:workflow:{started.id}", "updated", 1)
    client.zadd("switchyard:workflows", {started.id: 1})

    deployment.python("from switchyard.producer import app; app.send_task('switchyard.sweep')")

    assert started.wait()["result"]["results"] == [0, [FAILS, "mended"]]


def test_a_replay_can_be_cancelled_before_it_was_published(deployment, workflow):
    """It leaves the outbox."""
    deployment.queues(QUEUES.format(pool="threads"))
    deployment.start_worker()
    started = workflow(deployment, "spread", items=[0, "raises"])
    started.wait()
    started.replay()
    client = deployment.server.client()
    assert client.zrange("switchyard:outbox", 0, -1) == [started.id]
    assert started.cancel().startswith("cancelled 2 cancelled by a test")
    assert client.zcard("switchyard:outbox") == 0
    assert started.replay().startswith("refused: ")


def test_a_report_whose_partition_failed_is_made_by_its_replay(deployment, workflow):
    """That partition is aggregated again, and the artefact is made of all."""
    deployment.queues(
        '[defaults]\npool = "prefork"\nconcurrency = 1\n[reports.trials]\nmodule = "project.reports.trials"\nretries = 0\n'
    )
    deployment.events("")
    deployment.start_workers("trials_aggregator_queue", "trials_report_queue")
    deployment.start("consumer")
    started = workflow(deployment, "reports.trials", does="raises once")
    assert "1 of 3 partitions failed" in started.wait()["reason"]

    started.replay()

    ended = started.wait()
    assert (ended["state"], ended["attempt"], ended["failed"], ended["reason"]) == ("done", 2, 0, "")
    assert ended["result"]["headline"][0] == ["partitions", 3]
    assert sorted(lines(deployment, "aggregated")) == ["0 ", "1 ", "1 ", "2 "]


def test_the_event_of_a_replayed_workflow_stays_its_event(deployment):
    """Told again it starts nothing, before, meanwhile and afterwards."""
    up(deployment)
    door = Door(deployment)
    told = event(1, data={"items": [0, [FAILS, "mended"]]})
    path = door.tell(told).headers["location"]
    eventually(lambda: door.get(path).json.get("state") == "done", "the first attempt to end")
    before = door.get(path).json
    mend(deployment)

    assert door.ask("POST", f"{path}/attempts").status == 201
    assert door.tell(told).json == {
        "workflow": before["id"],
        "state": "repeated",
        "event": {"source": "/tests", "id": "1"},
    }

    eventually(lambda: door.get(path).json.get("state") == "done", "the second attempt to end")
    after = door.get(path).json
    assert (after["attempt"], after["event"], after["created"]) == (2, before["event"], before["created"])
    assert door.tell(told).json["state"] == "repeated"
    assert len(door.get("/v1/workflows").json["workflows"]) == 1
    until_nothing_is_left(deployment)
    assert len(lines(deployment, "called_back")) == 2
