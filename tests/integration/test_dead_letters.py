"""A task that fails for good is kept with its cause, and runs again when somebody says so: real workers, on every pool."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.leasing import dead_letters
from tests.support import ROOT, Deployment, eventually

POOLS = ("prefork", "gevent", "threads", "solo")
QUEUE = """
[queues.{name}]
tasks = ["{name}.*"]
imports = ["project.tasks"]
pool = "{name}"
concurrency = {slots}
time_limit = {time_limit}
drain = 0
"""
SEND = """
from switchyard.producer import app
for queue, task, args, kwargs, options in {messages!r}:
    print(app.send_task(task, args=args, kwargs=kwargs, queue=queue, **options).id)
"""


def queues(deployment: Deployment, *names: str, time_limit: int = 60) -> None:
    """A queue of each pool's name, and one that has all other tasks and no worker."""
    tables = [QUEUE.format(name=name, slots=1 if name == "solo" else 2, time_limit=time_limit) for name in names]
    deployment.queues("".join(tables) + '[queues.default]\ntasks = ["*"]\n')


def send(deployment: Deployment, queue: str, task: str, *args: object, **options: Any) -> str:
    """Publish a task; its id."""
    return send_all(deployment, (queue, task, args, options.pop("kwargs", {}), options))[0]


def send_all(deployment: Deployment, *messages: tuple[str, str, tuple[object, ...], dict[str, Any], dict[str, Any]]) -> list[str]:  # fmt: skip
    return deployment.python(SEND.format(messages=messages)).splitlines()


def kept(deployment: Deployment, number: int) -> dict[str, dict[str, str]]:
    """The letters, by task id, once there are as many."""
    client = deployment.server.client(0)
    eventually(lambda: client.zcard("switchyard:dead_letters") >= number, f"{number} dead letters")
    letters = {letter["task_id"]: letter for letter in dead_letters(deployment.server)}
    assert len(letters) == client.zcard("switchyard:dead_letters") == number
    return letters


def settled(deployment: Deployment) -> bool:
    client = deployment.server.client(0)
    return not client.hlen("unacked") and not client.zcard("unacked_index")


def noted(deployment: Deployment, name: str) -> list[str]:
    file = deployment.folder / name
    return file.read_text().splitlines() if file.exists() else []


def command(deployment: Deployment, *arguments: str) -> tuple[int, str, str]:
    """`make dead-letters`: its exit code, its output and its errors."""
    done = subprocess.run(
        [sys.executable, "-m", "switchyard", "dead-letters", *arguments], capture_output=True, text=True, check=False,
        env={**deployment.environment, "RUNTIME": "local"}, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


WAYS = [*((pool, "leased") for pool in POOLS), ("prefork", "stock"), ("gevent", "stock")]


@pytest.mark.parametrize(("pool", "transport"), WAYS)
def test_a_task_that_fails_for_good_is_kept_with_its_cause_and_the_worker_goes_on(
    deployment: Deployment, pool: str, transport: str
) -> None:
    """After its retries; rejected; unknown; with a result or a body that nobody can read; acknowledged before it ran."""
    deployment.environment["BROKER_TRANSPORT"] = transport
    queues(deployment, pool)
    worker = deployment.start_worker(pool)
    tasks = [("fails_after_retries", ()), ("rejects", ()), ("nobody_knows_it", ()), ("misbehave", ("returns a set",)),
             ("fails_early", ("early",)), ("needs_mending", ("x",)), ("gate", ()), ("needs_mending", ("compressed",))]  # fmt: skip
    retried, rejected, unknown, unserialisable, early, surrogate, arguments, compressed = send_all(
        deployment,
        *((pool, task, args, {}, {"compression": "zlib"} if "compressed" in args else {}) for task, args in tasks),
    )
    client = deployment.server.client(0)
    mangled = json.loads(json.dumps(json.loads(PROTOTYPE)).replace("prototype", "mangled"))
    mangled["properties"]["delivery_info"]["routing_key"] = pool
    mangled["body"] = base64.b64encode(b"[[1, {").decode()
    client.lpush(pool, json.dumps(mangled))

    letters = kept(deployment, len(tasks) + 1)
    eventually(lambda: settled(deployment), "all to be settled")
    assert {
        retried: "ValueError: on purpose",
        rejected: "rejected: no such customer",
        unknown: "no worker of this queue knows the task 'nobody_knows_it'",
        early: "ValueError: on purpose",
        surrogate: "LookupError: half a character: ?",
        compressed: "LookupError: half a character: ?",
    }.items() <= {task_id: letter["reason"] for task_id, letter in letters.items()}.items()
    assert letters[unserialisable]["reason"].startswith("EncodeError: ")
    assert "gate() missing 1 required positional argument" in letters[arguments]["reason"]
    assert letters["mangled"]["reason"].startswith("no worker can read it: ")
    assert {letter["queue"] for letter in letters.values()} == {pool}
    assert letters[retried]["task"] == "fails_after_retries"
    assert letters[retried]["worker"].startswith(f"{pool}@")
    assert 'raise ValueError("on purpose")' in letters[retried]["traceback"]
    assert json.loads(letters[retried]["message"])["headers"]["retries"] == 2
    assert noted(deployment, "begun").count(retried) == 3
    assert noted(deployment, "begun").count("early") == 1
    assert "traceback" not in letters[unknown]

    send(deployment, pool, "last", "after all that", 0)
    eventually(lambda: "after all that" in noted(deployment, "ended"), "the worker to go on")
    eventually(lambda: settled(deployment), "it to be acknowledged")
    assert worker.poll() is None
    assert client.zcard("switchyard:dead_letters") == len(letters)


#: A message as Celery writes it.
PROTOTYPE = json.dumps({
    "body": "", "content-encoding": "utf-8", "content-type": "application/json",
    "headers": {"lang": "py", "task": "last", "id": "prototype", "root_id": "prototype", "parent_id": None, "group": None},
    "properties": {"correlation_id": "prototype", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": ""},
                   "priority": 0, "body_encoding": "base64", "delivery_tag": "prototype"},
})  # fmt: skip


def test_what_is_no_failure_for_good_is_not_kept(deployment: Deployment) -> None:
    """Success, a retry that helps, Ignore, Reject with requeue, a revoked or expired task, one that another calls."""
    queues(deployment, *POOLS)
    deployment.start_workers(*POOLS)
    ways = ("ignored", "calls one that fails", "requeued")
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    send_all(
        deployment,
        *((pool, "ends_otherwise", (way,), {}, {}) for pool in POOLS for way in ways),
        *((pool, "last", ("expired", 0), {}, {"expires": past}) for pool in POOLS),
        *((pool, "last", ("good", 0), {}, {}) for pool in POOLS),
    )
    eventually(lambda: len(noted(deployment, "ended")) == 3 * len(POOLS), "all to end")
    eventually(lambda: settled(deployment) and not deployment.server.client(0).llen("solo"), "all to be acknowledged")
    assert dead_letters(deployment.server) == []


@pytest.mark.parametrize("acks_late", [True, False])
def test_a_task_beyond_its_hard_time_limit_is_kept(deployment: Deployment, acks_late: bool) -> None:
    """On the pools that have one."""
    pools = ("prefork", "gevent")
    queues(deployment, *pools, time_limit=2)
    deployment.start_workers(*pools)
    task, args = ("last", ("too long", 600)) if acks_late else ("fails_early", ("too long", True))
    ids = send_all(deployment, *((pool, task, args, {}, {}) for pool in pools))
    letters = kept(deployment, 2)
    assert {letters[number]["reason"] for number in ids} == {"it ran beyond its hard time limit of 2.0 s"}
    eventually(lambda: settled(deployment), "both to be settled")
    send_all(deployment, *((pool, "last", (pool, 0), {}, {}) for pool in pools))
    eventually(lambda: sorted(noted(deployment, "ended")) == sorted(pools), "the workers to go on")


@pytest.mark.parametrize("transport", ["leased", "stock"])
def test_a_task_that_is_lost_with_its_process_after_it_was_acknowledged_is_kept(
    deployment: Deployment, transport: str
) -> None:
    """Nothing else would ever know of it."""
    deployment.environment["BROKER_TRANSPORT"] = transport
    queues(deployment, "prefork")
    deployment.start_worker("prefork")
    number = send(deployment, "prefork", "fails_early", "killed", kwargs={"gated": "kills its process"})
    (letter,) = kept(deployment, 1).values()
    assert letter["task_id"] == number
    assert letter["reason"].startswith("its process was lost: ")
    assert json.loads(letter["message"])["headers"]["id"] == number


def test_a_task_that_kills_its_worker_ends_there_on_every_pool(deployment: Deployment) -> None:
    """With the reason, and which worker it was."""
    deployment.environment |= {"BROKER_LEASE": "5", "MAX_DELIVERIES": "1"}
    queues(deployment, *POOLS)
    deployment.start_workers(*POOLS)
    ids = send_all(deployment, *((pool, "misbehave", ("kills its process",), {}, {}) for pool in POOLS))
    client = deployment.server.client(0)
    eventually(lambda: len(noted(deployment, "begun")) == len(POOLS), "all to begin")
    deployment.start_worker("prefork")
    eventually(lambda: client.zcard("switchyard:dead_letters") == len(POOLS), "all to be set aside")
    letters = kept(deployment, len(POOLS))
    lost = {letters[number]["queue"]: letters[number]["reason"] for number in ids}
    assert lost.pop("prefork") == "its process was lost, or it was given back, 1 times"
    assert set(lost.values()) == {"its worker was lost 1 times"}
    assert all(letter["task"] == "misbehave" and letter["worker"] for letter in letters.values())


def test_a_task_that_takes_all_memory_is_kept_and_may_run_again_when_that_is_mended(deployment: Deployment) -> None:
    """Its third process was killed; to Celery it is revoked, in this worker, until it is replayed."""
    queues(deployment, "prefork")
    file = deployment.folder / "queues.toml"
    file.write_text(file.read_text().replace("drain = 0", 'drain = 0\nmemory = "400M"'))
    deployment.start_worker("prefork")
    number = send(deployment, "prefork", "takes_all_memory")
    letter = kept(deployment, 1)[number]
    assert letter["reason"].startswith("its process was killed 3 times: it had ")
    assert len(noted(deployment, "begun")) == 3
    (deployment.folder / "mended").touch()
    assert command(deployment, "replay", number)[0] == 0
    eventually(lambda: noted(deployment, "ended") == ["takes all memory"], "it to end")


def test_what_fails_at_the_servers_memory_limit_is_kept_and_can_be_replayed_there(own_deployment: Deployment) -> None:
    """New messages are refused at their publisher; none of these is lost."""
    client = own_deployment.server.client(0)
    queues(own_deployment, "prefork", "threads")
    own_deployment.start_workers("prefork", "threads")
    tasks = [("fails_at_the_gate", ("late",)), ("fails_early", ("early", True))]
    ids = send_all(own_deployment, *((pool, *task, {}, {}) for pool in ("prefork", "threads") for task in tasks))
    eventually(lambda: len(noted(own_deployment, "begun")) == 4, "all to begin")
    client.config_set("maxmemory", 1)
    try:
        (own_deployment.folder / "open_").touch()
        letters = kept(own_deployment, 4)
        assert set(letters) == set(ids)
        assert {letter["reason"] for letter in letters.values()} == {"ValueError: on purpose"}
        eventually(lambda: settled(own_deployment), "all to be settled")
        (own_deployment.folder / "begun").unlink()
        assert command(own_deployment, "replay", ids[0]) == (0, "Replayed: 1.\n", "")
        eventually(lambda: noted(own_deployment, "begun") == ["late"], "it to run again")
        eventually(lambda: client.zcard("switchyard:dead_letters") == 4, "it to fail again")
    finally:
        client.config_set("maxmemory", 0)


# --- Replayed


@pytest.mark.parametrize("transport", ["leased", "stock"])
def test_a_replayed_task_runs_again_under_its_id_and_what_comes_after_it_runs(
    deployment: Deployment, transport: str
) -> None:
    """Its links and its chain too; its letter is gone, and found by either id until then."""
    deployment.environment["BROKER_TRANSPORT"] = transport
    queues(deployment, "threads")
    worker = deployment.start_worker("threads")
    code = """
from celery import chain, signature
from switchyard.producer import app
make = lambda name, *args: signature(name, args=args, app=app).set(queue="threads")
more = {"customer": {"Password": "hush"}}
linked = make("needs_mending", "linked").apply_async(link=make("comes_after"), kwargs=more, compression="zlib")
chained = chain(make("needs_mending", "chained"), make("comes_after")).apply_async()
print(linked.id, chained.parent.id)
"""
    linked, chained = deployment.python(code).split()
    before = kept(deployment, 2)
    code, out, _ = command(deployment)
    assert code == 0
    assert [line.split()[3] for line in out.splitlines()] == ["task", "needs_mending", "needs_mending"]
    assert all("LookupError: half a character: ?" in line for line in out.splitlines()[1:])
    numbers = [line.split()[0] for line in out.splitlines()[1:]]
    assert all(len(number) < 4 for number in numbers)

    code, shown, _ = command(deployment, "show", linked)
    assert code == 0
    assert 'raise LookupError("half a character: \\udc80")' in shown
    assert '{"customer": {"Password": "…"}}' in shown
    assert "hush" not in shown
    assert "comes_after" in shown

    (deployment.folder / "mended").touch()
    assert command(deployment, "replay", linked, chained) == (0, "Replayed: 2.\n", "")
    eventually(lambda: sorted(noted(deployment, "after")) == ["chained", "linked"], "what comes after to run")
    assert sorted(noted(deployment, "begun")) == sorted(2 * [f"linked {linked}", f"chained {chained}"])
    eventually(lambda: settled(deployment), "all to be acknowledged")
    client = deployment.server.client(0)
    assert [
        key for key in client.keys("switchyard:dead_letter*") if not key.endswith(":last") and ":once:" not in key
    ] == []
    code, _, err = command(deployment, "replay", linked)
    assert code == 1
    assert err.startswith(f"error: No dead letter has the id '{linked}'")
    assert {json.loads(letter["message"])["headers"]["id"] for letter in before.values()} == {linked, chained}
    assert worker.poll() is None


def test_a_leased_message_is_replayed_byte_by_byte_and_counts_from_none(deployment: Deployment) -> None:
    """It comes last in its queue."""
    client = deployment.server.client(0)
    queues(deployment, "solo")
    number = send(deployment, "solo", "needs_mending", "x")
    (published,) = client.lrange("solo", 0, -1)
    client.ltrim("solo", 1, 0)
    client.lpush("solo", published.replace("{", '{"x-deliveries": 1, ', 1))
    worker = deployment.start_worker("solo")
    (letter,) = kept(deployment, 1).values()
    assert letter["deliveries"] == "1"
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)
    send(deployment, "solo", "last", "other", 0)
    assert command(deployment, "replay", number)[0] == 0
    assert client.lindex("solo", 0) == published
    assert client.llen("solo") == 2


def test_replaying_twice_at_once_does_so_once(deployment: Deployment) -> None:
    """The second says that there is nothing any more."""
    client = deployment.server.client(0)
    queues(deployment, "solo")
    deployment.start_worker("solo")
    ids = [send(deployment, "solo", "needs_mending", name) for name in ("a", "b")]
    kept(deployment, 2)
    deployment.kill_workers()
    with ThreadPoolExecutor(4) as threads:
        codes = list(threads.map(lambda number: command(deployment, "replay", number)[0], [*ids, *ids]))
    assert sorted(codes) == [0, 0, 1, 1]
    assert client.llen("solo") == 2
    assert client.zcard("switchyard:dead_letters") == 0


def test_what_would_not_run_is_not_replayed_and_says_why(deployment: Deployment) -> None:
    """Its queue is gone; it has expired; nobody can read it. Each is still kept, and can be dropped; a good one beside it runs."""
    client = deployment.server.client(0)
    queues(deployment, "solo", "threads")
    deployment.start_workers("solo", "threads")
    soon = (datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    expired = send(deployment, "solo", "needs_mending", "expired", expires=soon)
    gone = send(deployment, "threads", "needs_mending", "gone")
    good = send(deployment, "solo", "needs_mending", "good")
    client.lpush("solo", "no json at all")
    eventually(lambda: client.zcard("switchyard:dead_letters") == 4, "all to be kept")
    queues(deployment, "solo")
    code, _, err = command(deployment, "replay", gone)
    assert code == 1
    assert err == (
        f"error: The dead letter {number_of(deployment, gone)} cannot be replayed: no worker reads its queue, 'threads', which is not "
        "in queues.toml any more. Put its table back and say make up, or drop the letter.\n"
    )
    eventually(lambda: datetime.now(UTC).isoformat() > soon, "it to expire")
    code, out, err = command(deployment, "replay", "--all", "--queue", "solo")
    assert (code, out) == (1, "Replayed: 1.\n")
    assert "its task expired at" in err
    assert "no worker can read it: JSONDecodeError" in err
    eventually(lambda: noted(deployment, "begun").count(f"good {good}") == 2, "the good one to run")
    eventually(lambda: client.zcard("switchyard:dead_letters") == 4, "it to fail again")
    assert "no json at all" in command(deployment, "show", number_of(deployment, None))[1]
    assert command(deployment, "drop", expired) == (0, "Dropped: 1.\n", "")
    assert command(deployment, "drop", "--all", "--queue", "solo") == (0, "Dropped: 2.\n", "")
    assert command(deployment, "drop", "--all") == (0, "Dropped: 1.\n", "")
    assert command(deployment) == (0, "No dead letter is kept.\n", "")
    assert [
        key for key in client.keys("switchyard:dead_letter*") if not key.endswith(":last") and ":once:" not in key
    ] == []


def number_of(deployment: Deployment, task_id: str | None) -> str:
    """A letter's own id."""
    client = deployment.server.client(0)
    return next(
        number
        for number in client.zrange("switchyard:dead_letters", 0, -1)
        if client.hget(f"switchyard:dead_letter:{number}", "task_id") == task_id
    )


# --- Bounds


def test_a_letter_that_is_dropped_at_a_bound_is_logged(deployment: Deployment) -> None:
    """The oldest go first: those beyond the number, and those that are too old; each with what it was."""
    deployment.environment |= {"DEAD_LETTERS_MAX": "2", "DEAD_LETTERS_DAYS": "1"}
    client = deployment.server.client(0)
    queues(deployment, "threads")
    worker = deployment.start_worker("threads")
    ids = send_all(deployment, *(("threads", "needs_mending", (number,), {}, {}) for number in range(5)))

    def dropped() -> list[dict[str, str]]:
        lines = [json.loads(line) for line in deployment.log("threads").read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == "dead_letter_dropped"]

    eventually(lambda: len(dropped()) == 3, "three to be dropped")
    eventually(lambda: client.zcard("switchyard:dead_letters") == 2, "two to be left")
    assert {line["task_id"] for line in dropped()} | set(kept(deployment, 2)) == set(ids)
    first = dropped()[0]
    assert (first["level"], first["task"], first["queue"]) == ("error", "needs_mending", "threads")
    assert (first["cause"], first["id"]) == ("LookupError: half a character: ?", "1")

    (oldest, _) = client.zrange("switchyard:dead_letters", 0, 0, withscores=True)[0]
    client.zadd("switchyard:dead_letters", {oldest: client.time()[0] - 90_000})
    eventually(lambda: len(dropped()) == 4, "the old one to be dropped")
    assert dropped()[3]["id"] == oldest
    eventually(lambda: client.exists(f"switchyard:dead_letter:{oldest}") == 0, "it to be gone")
    assert client.zcard("switchyard:dead_letters:tasks") == 1
    assert worker.poll() is None
