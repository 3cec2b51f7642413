"""`make doctor`: a whole checkout has nothing to mend, and each thing that is wrong with one is a sentence. No engine is needed."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from tests.support import free_port

from switchyard import render
from switchyard.errors import ConfigError
from switchyard.runtime import choice, doctor, redis_server, status
from switchyard.settings import Settings


@pytest.fixture(autouse=True)
def checkout(config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local one in which nothing is wrong, before its first `make up`: its config folder."""
    (config_dir / "queues.toml").write_text("")
    render.write(config_dir)
    for variable in ("API_PORT", "FLOWER_PORT", "REDIS_PORT"):
        monkeypatch.setenv(variable, str(free_port()))
    server = config_dir.parent / "redis-server"
    server.write_text("#!/bin/sh\necho Redis server v=8.0.1\n")
    server.chmod(0o755)
    monkeypatch.setattr(redis_server, "server_for", lambda _: server)
    monkeypatch.setattr(doctor, "_total_memory", lambda: 64 * 1024**3)
    (config_dir.parent / "state").rmdir()
    return config_dir


def to_mend() -> list[str]:
    """What the findings say is to be done."""
    return [finding.mend for finding in doctor.look(Settings.load()) if finding.mend is not None]


def test_a_healthy_checkout_has_nothing_to_mend(checkout: Path) -> None:
    """Everything that was looked at is told all the same, and nothing was changed."""
    before = sorted(checkout.parent.rglob("*"))
    findings = doctor.look(Settings.load())
    assert [finding for finding in findings if finding.mend is not None] == []
    assert [finding.text.split(":")[0] for finding in findings] == [
        "what is rendered is what config/queues.toml says",
        "no secret is a placeholder",
        "the disk has room",
        "runtime",
        (
            "local processes have your rights, a file system and a network like yours, and no limits of processors and "
            "processes; Redis has no user per role"
        ),
        "Redis",
        "memory",
        *(f"port {getattr(Settings.load(), name)} is free" for name in ("api_port", "flower_port", "redis_port")),
    ]
    assert sorted(checkout.parent.rglob("*")) == before


def test_a_stale_render_is_told(checkout: Path) -> None:
    """As `make up` would."""
    (checkout / "queues.toml").write_text("[queues.a]\n")
    (said,) = to_mend()
    assert said.startswith("config/supervisor/queues.conf is not what config/queues.toml says. Run `make render`")


def test_a_placeholder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its setting, and without it."""
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "admin:change-me")
    (said,) = to_mend()
    assert said.startswith("FLOWER_BASIC_AUTH: its password is a placeholder.")


@pytest.mark.parametrize("variable", ["API_PORT", "FLOWER_PORT", "REDIS_PORT"])
def test_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """With the variable that changes it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv(variable, str(taken.getsockname()[1]))
        (said,) = to_mend()
    assert f"is in use; set {variable} in .env to a free one." in said


def test_the_ports_of_a_deployment_that_runs_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be told to give way to itself."""
    monkeypatch.setattr("switchyard.runtime.local.is_up", lambda _: True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("API_PORT", str(taken.getsockname()[1]))
        assert to_mend() == []


@pytest.mark.parametrize(("kept", "told"), [(7_999, False), (8_000, True)])
def test_dead_letters_that_are_about_to_be_dropped_are_told(
    monkeypatch: pytest.MonkeyPatch, kept: int, told: bool
) -> None:
    """From 80 % of the bound on, with what to do."""
    monkeypatch.setattr("switchyard.runtime.local.is_up", lambda _: True)
    most = Settings.load().dead_letters_max
    monkeypatch.setattr("switchyard.runtime.local.rows", lambda _: ([], status.kept(3, kept, most)))
    assert [said.startswith("Dead letters are at 80% of DEAD_LETTERS_MAX (10,000)") for said in to_mend()] == [
        True
    ] * told


def test_a_redis_of_yours_needs_neither_a_server_nor_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password is not told."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://:r3al@redis.example/0")
    monkeypatch.setattr(redis_server, "server_for", lambda _: pytest.fail("asked for a server"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("REDIS_PORT", str(taken.getsockname()[1]))
        findings = doctor.look(Settings.load())
    assert [finding for finding in findings if finding.mend is not None] == []
    assert "Redis: CELERY_BROKER_URL names one of yours" in [finding.text for finding in findings]
    assert "r3al" not in str(findings)


def test_what_else_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it in one go: a server, memory, room on the disk."""

    def none(_: object) -> Path:
        raise ConfigError("No redis-server was found.")

    monkeypatch.setattr(redis_server, "server_for", none)
    monkeypatch.setattr(doctor, "_total_memory", lambda: 2 * 1024**3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    room, server, memory = to_mend()
    assert room.startswith("Only 0 MB are free under ")
    assert server == "No redis-server was found."
    assert memory.startswith("Lower `memory` in config/queues.toml")


def test_a_config_that_is_refused_is_told_before_all_else(checkout: Path) -> None:
    """The rest follows from it."""
    (checkout / "queues.toml").write_text("[queues.a]\nconcurency = 1\n")
    (said,) = to_mend()
    assert "queues.a.concurency" in said
    assert len(doctor.look(Settings.load())) == 1


def test_a_runtime_that_would_be_another_is_told(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both ways out."""
    monkeypatch.setenv("RUNTIME", "")
    monkeypatch.setattr(choice, "engine_answers", lambda: True)
    state_dir = checkout.parent / "state"
    state_dir.mkdir()
    choice.record(state_dir, choice.LOCAL, insisted=False)
    (said,) = to_mend()
    assert "RUNTIME=local" in said
    assert "RUNTIME=docker" in said
    choice.record(state_dir, choice.LOCAL, insisted=True)
    assert to_mend() == []
    assert "runtime: local, as it was before" in [finding.text for finding in doctor.look(Settings.load())]


# --- In Docker

#: A docker whose engine, Compose and `info` are told in files beside it, and which has one stand-in.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
case "$*" in
    "version"*) cat engine ;;
    "compose version"*) cat compose ;;
    "info"*) echo '{"NCPU": 4, "MemTotal": 68719476736}' ;;
    "image ls"*) echo redis:8-trixie ;;
    *) echo "no such command: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def engine(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the whole PATH; the checkout is this repository's, of which Compose mounts config/."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cat", "dirname"):
        (folder / name).symlink_to(str(shutil.which(name)))
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    (folder / "engine").write_text("28.0.1\n")
    (folder / "compose").write_text("2.33.1\n")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("RUNTIME", "docker")
    monkeypatch.setattr("switchyard.runtime.docker.requirements.ROOT", tmp_path)
    return folder


def test_a_healthy_engine_has_nothing_to_mend(engine: Path) -> None:
    """A stand-in is told, because it is not what others run."""
    findings = doctor.look(Settings.load())
    assert [finding for finding in findings if finding.mend is not None] == []
    assert "redis:8-trixie is a stand-in, built here from Debian's packages" in [finding.text for finding in findings]
    assert "memory: 3.5 GB if every queue uses its share, of 64.0 GB" in [finding.text for finding in findings]


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("engine", "20.10.7\n", "The Docker engine is 20.10.7; 25.0 or later is needed, or RUNTIME=local."),
        ("compose", "v2.20.0\n", "Docker Compose is v2.20.0; 2.24 or later is needed, or RUNTIME=local."),
        ("compose", "", "Docker Compose is not installed; 2.24 or later is needed, or RUNTIME=local."),
    ],
)
def test_what_is_too_old_is_told(engine: Path, file: str, text: str, sentence: str) -> None:
    """By its version."""
    (engine / file).write_text(text)
    assert to_mend() == [sentence]


def test_config_that_containers_cannot_read_is_told(engine: Path, checkout: Path) -> None:
    """Their user is none of this machine's; before the first container fails to start."""
    (checkout / "queues.toml").chmod(0o640)
    assert to_mend() == ["Containers cannot read config/queues.toml: run `chmod -R o+rX config`."]


def test_a_queue_that_wants_more_than_the_engine_has_is_told(engine: Path, checkout: Path) -> None:
    """It would be refused when its container is made."""
    (checkout / "queues.toml").write_text("[queues.a]\ncpus = 6\n")
    render.write(checkout)
    assert to_mend() == ["queues.a.cpus: 6, but the Docker engine has 4 processors."]


def test_without_docker_everything_else_is_told_all_the_same(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever insists on it has not installed it yet."""
    (engine / "docker").unlink()
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "admin:change-me")
    placeholder, no_engine = to_mend()[:2]
    assert placeholder.startswith("FLOWER_BASIC_AUTH")
    assert no_engine.startswith("No Docker engine answers.")
