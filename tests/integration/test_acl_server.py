"""Redis' users, asked of a real server that has read the generated file: what each role's work needs, and what it must not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.support import ROOT, Deployment, Server, eventually, missing

from switchyard.broker import scripts
from switchyard.broker.events_queue import PRIORITY_LISTS
from switchyard.errors import ConfigError
from switchyard.runtime import redis_server
from switchyard.runtime.docker import acl
from switchyard.workflows import record

#: Who is not let in is told at once.
ONCE = Retry(NoBackoff(), 0)
PASSWORDS = {role: f"password-of-{role}" for role in acl.ROLES}


class Guarded(Server):
    """A server with users; as `admin` is how its readiness is asked."""

    def answers(self) -> bool:
        try:
            with self.client("admin") as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self, role: str = "admin") -> redis.Redis:  # type: ignore[override]
        return redis.Redis(
            port=self.port, username=role, password=PASSWORDS[role], decode_responses=True, socket_timeout=5
        )


def guarded(folder: Path) -> Guarded:
    """A server that has read the file."""
    try:
        # Keys that may only be written or only be read are new in Redis 7; every Valkey has them.
        if redis_server.version(redis_server.find_server()) < (7, 0):
            missing("a Redis 7 or a Valkey server")
    except ConfigError:
        missing("a Redis 7 or a Valkey server")
    (folder / "users.acl").write_text(acl.users(["default", "sales_report_queue"], PASSWORDS))
    started = Guarded(folder, "--aclfile", str(folder / "users.acl"))
    started.start()
    return started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One for all tests that leave it running."""
    started = guarded(tmp_path_factory.mktemp("acl"))
    yield started
    started.kill()


@pytest.fixture(autouse=True)
def some_keys(server: Guarded) -> None:
    """One of each kind."""
    client = server.client()
    client.flushall()
    for queue in ("default", *PRIORITY_LISTS, "elsewhere"):
        client.lpush(queue, "message")
    client.set("celery-task-meta-x", "result")
    client.sadd("_kombu.binding.default", "binding")
    client.hset("unacked", "tag", "message")
    client.hset("switchyard:workflow:x", "state", "open")


def refused(client: redis.Redis, *command: str) -> bool:
    """Whether the server does not permit it."""
    try:
        if "SUBSCRIBE" in command[0]:
            with client.pubsub() as listening:
                listening.execute_command(*command)
                listening.parse_response()
        else:
            client.execute_command(*command)
    except redis.exceptions.NoPermissionError:
        return True
    return False


@pytest.mark.parametrize("command", ["PING", "INFO", "LLEN default"])
def test_nobody_comes_in_without_a_name(server: Guarded, command: str) -> None:
    with redis.Redis(port=server.port, retry=ONCE) as anonymous, pytest.raises(redis.AuthenticationError):
        anonymous.execute_command(*command.split())


def test_a_role_does_not_come_in_with_another_roles_password(server: Guarded) -> None:
    for username in ("default", "worker", "admin"):
        other = redis.Redis(port=server.port, username=username, password=PASSWORDS["producer"], retry=ONCE)
        with other, pytest.raises(redis.AuthenticationError):
            other.ping()


@pytest.mark.parametrize("role", ["worker", "producer", "flower", "health"])
@pytest.mark.parametrize(
    "command",
    [
        # it empties or stops the server
        "FLUSHALL", "FLUSHDB", "SHUTDOWN NOSAVE", "SAVE", "REPLICAOF NO ONE",
        # it configures it, its users among it
        "CONFIG GET *", "CONFIG SET maxmemory 1", "ACL LIST", "ACL SETUSER worker ~*", "MODULE LIST",
        # it looks at what is everybody's
        "KEYS *", "MONITOR", "CLIENT LIST", "SORT default",
        # keys of nobody's
        "GET elsewhere", "LRANGE elsewhere 0 -1", "LPUSH elsewhere x", "DEL elsewhere",
        # channels of nobody's
        "PUBLISH elsewhere x", "SUBSCRIBE elsewhere", "PSUBSCRIBE *",
    ],
)  # fmt: skip
def test_no_role_may_do_what_none_of_them_needs(server: Guarded, role: str, command: str) -> None:
    with server.client(role) as client:
        assert refused(client, *command.split())


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        # a worker: its queues, what it holds, bindings, results, workflows, events of its kind
        ("worker", [
            "LPUSH default x", "BRPOP default 0.01", "LLEN sales_report_queue", "HGETALL unacked", "ZADD unacked_index 1 tag",
            "SET unacked_mutex 1", "SMEMBERS _kombu.binding.default", "GET celery-task-meta-x", "SETEX celery-task-meta-y 9 x",
            "PUBLISH celery-task-meta-y x", "HSET switchyard:workflow:x state done", "LLEN events", "INFO",
            "SADD _kombu.binding.reply.celery.pidbox x", "LPUSH u-u.reply.celery.pidbox x",
            # leases: scripts, the doorbell, and keys of their own
            "SCRIPT LOAD return{}", "EVAL return{redis.call('RPOP',KEYS[1]),redis.call('HSET',KEYS[2],'tag','message')} 2 default unacked",
            "CLIENT TRACKING ON NOLOOP", "ZADD unacked_index XX 1 tag", "HSET switchyard:workers x y", "HSET switchyard:lease_clock seen 1",
            "HSET switchyard:dead_letter:x reason y", "ZADD switchyard:dead_letters 1 x", "RPUSH default x",
            "PUBLISH /0.celeryev/worker.heartbeat x", "PSUBSCRIBE /0.celery.pidbox",
        ]),
        # a producer: it writes to queues and counts them, reads events, and has the record
        ("producer", [
            "LPUSH default x", "LLEN default", "SMEMBERS _kombu.binding.default", "SADD _kombu.binding.events x",
            "HGETALL switchyard:workflow:x", "ZADD switchyard:outbox 1 x", "BLPOP switchyard:outbox:wake 0.01", "LINDEX events -1", "INFO",
            "EVAL return{redis.call('ZCARD',KEYS[1])} 1 switchyard:outbox",
            *(f"LREM {name} 1 message" for name in PRIORITY_LISTS),
        ]),
        # Flower: it looks, and sends control commands
        ("flower", [
            "LLEN default", "LRANGE default 0 -1", "GET celery-task-meta-x", "SMEMBERS _kombu.binding.celery.pidbox", "INFO",
            "PUBLISH /0.celery.pidbox x", "BRPOP u-u.reply.celery.pidbox 0.01", "PSUBSCRIBE /0.celeryev/*",
        ]),
        ("health", ["PING"]),
    ],
)  # fmt: skip
def test_a_role_may_do_what_its_work_needs(server: Guarded, role: str, allowed: list[str]) -> None:
    with server.client(role) as client:
        assert [command for command in allowed if refused(client, *command.split())] == []


@pytest.mark.parametrize("role", ["worker", "producer"])
def test_dead_letters_are_within_the_rights_of_who_works_with_them(server: Guarded, role: str) -> None:
    """By the scripts themselves: a worker keeps and trims them; `make dead-letters` has the producer's user, and replays."""
    admin = server.client()
    for number in (1, 2):
        admin.eval(
            scripts.LETTER,
            2,
            scripts.WORKERS,
            scripts.DEAD_LETTERS,
            "",
            f"call {number}",
            "{}",
            "default",
            "why",
            0,
            "task_id",
            f"t{number}",
        )
    keys = (2, scripts.WORKERS, scripts.DEAD_LETTERS)
    with server.client(role) as client:
        assert client.eval(scripts.DUE, *keys, "", 1, 3600, 10, role, 30) == ["1"]
        client.hmget(f"{scripts.DEAD_LETTER}1", "message", "traceback")
        client.zrangebylex(scripts.DEAD_LETTERS_OF_TASKS, "[t1", "[t2")
        assert client.eval(scripts.TAKE, *keys, "", "1", "default") == 1
        assert client.eval(scripts.TAKE, *keys, "", "2", "") == 1
        if role == "worker":
            client.eval(scripts.LETTER, *keys, "", "a call", "{}", "default", "why", 0)
    assert admin.lindex("default", 0) == "{}"


@pytest.mark.parametrize(
    ("role", "forbidden"),
    [
        # a producer: what is in a queue, what became of a task, and what workers are told
        ("producer", [
            "LRANGE default 0 -1", "RPOP default", "LINDEX default 0", "GET celery-task-meta-x", "HGETALL unacked",
            "PUBLISH /0.celery.pidbox x", "PSUBSCRIBE /0.celery.pidbox", "SUBSCRIBE celery-task-meta-x",
            "COPY default switchyard:stolen", "EVAL return{redis.call('LRANGE',KEYS[1],0,-1)} 1 default",
        ]),
        # Flower: it changes nothing that waits or was recorded
        ("flower", [
            "LPUSH default x", "RPOP default", "DEL default", "SET celery-task-meta-x x", "HGETALL unacked",
            "HGETALL switchyard:workflow:x", "LRANGE events 0 -1",
        ]),
        # the probe
        ("health", ["INFO", "LLEN default", "ECHO x", "CLIENT GETNAME"]),
    ],
)  # fmt: skip
def test_a_role_may_not_do_what_is_another_roles_work(server: Guarded, role: str, forbidden: list[str]) -> None:
    with server.client(role) as client:
        allowed = [command for command in forbidden if not refused(client, *command.split())]
    assert allowed == []


def test_a_script_may_do_no_more_than_who_runs_it(server: Guarded) -> None:
    """Inside of it, too, where it names no key."""
    with (
        server.client("producer") as client,
        pytest.raises(redis.ResponseError, match="(?i)permission|ACL|can't access"),
    ):
        client.eval("return redis.call('GET', 'celery-task-meta-x')", 0)


@pytest.mark.parametrize("role", ["producer", "worker"])
def test_a_workflow_is_cancelled_and_replayed_by_those_who_may_start_one(server: Guarded, role: str) -> None:
    """The scripts' own keys, those of results included, which follow from the workflow's."""
    meta = "switchyard:workflow:w"
    with server.client(role) as client:
        ended = {"state": "done", "attempt": 1, "done": 2, "total": 2, "chunks": 2, "chunk_size": 1}
        client.hset(meta, mapping=ended)
        client.hset(f"{meta}:items", mapping={"0": "[1]", "1": "[2]"})
        for chunk in ("0", "1"):
            client.hset(f"{meta}:results:{chunk}", chunk, "{}")
        client.zadd(f"{meta}:failed", {"1": 1})
        beside = [f"{meta}:{name}" for name in ("items", "failed", "deliveries")]
        keys = [meta, *beside, record.OPEN, record.OUTBOX, record.WAKE]
        open_attempt = client.register_script(record.script_source("attempt"))
        assert open_attempt(keys=keys, args=["w", "done", 1, 60, 0]) == "opened"
        assert open_attempt(keys=keys, args=["w", "done", 1, 60, 0]) == "moved"
        assert client.hmget(meta, "state", "attempt", "done", "failed") == ["running", "2", "1", "0"]
        assert (client.exists(f"{meta}:results:0"), client.exists(f"{meta}:results:1")) == (1, 0)
        cancel = client.register_script(record.script_source("cancel"))
        assert cancel(keys=[meta, record.OPEN, record.OUTBOX], args=["w", "cancelled by x", 60]) == "running"
        assert client.zcard(record.OUTBOX) == client.zcard(record.OPEN) == 0


def test_queues_are_added_to_a_server_that_runs_and_connections_stay(server: Guarded) -> None:
    """Tasks that run are acknowledged on the connections they came by."""
    with server.client() as admin, server.client("worker") as worker, server.client("producer") as producer:
        before = [client.client_id() for client in (worker, producer)]
        assert refused(worker, "LLEN", "tax")
        for role, rules in acl.additions(["tax"]).items():
            admin.execute_command("ACL", "SETUSER", role, *rules)
        assert not refused(producer, "LPUSH", "tax", "x")
        assert not refused(worker, "LLEN", "tax")
        assert refused(producer, "LRANGE", "tax", "0", "-1")
        assert [client.client_id() for client in (worker, producer)] == before


def test_transactions_and_scripts_of_a_role_outlive_the_server(tmp_path: Path) -> None:
    """Redis repeats them from its file as its default user, who must be allowed what they did."""
    server = guarded(tmp_path)
    try:
        with server.client("worker") as client:
            with client.pipeline(transaction=True) as together:
                together.lpush("default", "message").hset("unacked", "tag", "message").execute()
            client.eval(
                "redis.call('SET', KEYS[1], 'x') return redis.call('SET', KEYS[2], 'y')",
                2,
                "switchyard:a",
                "switchyard:b",
            )
        # A write to the file waits for a slow fsync, also while Redis has answered.
        eventually(lambda: server.client().info("persistence")["aof_buffer_length"] == 0, "all to be in the file")
        server.kill()
        server.start()
        assert sorted(server.client().keys()) == ["default", "switchyard:a", "switchyard:b", "unacked"]
    finally:
        server.kill()


QUEUES = """
[queues.default]
tasks = ["*"]
imports = ["project.tasks"]
pool = "prefork"
[queues.sales_report_queue]
tasks = ["sales.*"]
imports = ["project.tasks"]
pool = "gevent"
"""


@pytest.mark.parametrize("transport", ["leased", "stock"])
def test_workers_and_publishers_work_as_their_roles(tmp_path: Path, transport: str) -> None:
    """Every pool's worker, by either transport, with no right beyond those of the file."""
    server = guarded(tmp_path)
    deployment = Deployment(server, tmp_path, "project.celery:app", ROOT / "tests" / "integration")
    deployment.environment["BROKER_TRANSPORT"] = transport
    deployment.queues(QUEUES)

    def become(role: str) -> None:
        url = f"redis://{role}:{PASSWORDS[role]}@127.0.0.1:{server.port}"
        deployment.environment |= {"CELERY_BROKER_URL": f"{url}/0", "CELERY_RESULT_BACKEND": f"{url}/1"}

    try:
        become("worker")
        deployment.start_workers("default", "sales_report_queue")
        become("producer")
        for queue in ("default", "sales_report_queue"):
            deployment.send("last", queue, 0, queue=queue)
        ended = tmp_path / "ended"
        eventually(lambda: ended.exists() and len(ended.read_text().split()) == 2, "both to run")
        eventually(lambda: server.client().hlen("unacked") == 0, "both to be acknowledged")
        logs = [deployment.log(queue).read_text() for queue in ("default", "sales_report_queue")]
        assert not any("permission" in log.lower() for log in logs)
    finally:
        deployment.kill_workers()
        server.kill()
