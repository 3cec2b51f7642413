"""Which runtime a deployment has: chosen once, kept, and refused when it would change by itself. No engine is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from switchyard import runtime
from switchyard.errors import RuntimeRefusal
from switchyard.runtime import choice
from switchyard.runtime.choice import DOCKER, LOCAL
from switchyard.settings import Settings


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An engine does; `silent` makes it stop."""
    monkeypatch.setattr(choice, "engine_answers", lambda: True)
    return monkeypatch


def silent(answers: pytest.MonkeyPatch) -> None:
    answers.setattr(choice, "engine_answers", lambda: False)


@pytest.mark.parametrize(("engine", "expected"), [(True, DOCKER), (False, LOCAL)])
def test_the_first_choice_is_docker_where_an_engine_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: bool, expected: str
) -> None:
    """Choosing records nothing: a `make up` that fails may choose again."""
    monkeypatch.setattr(choice, "engine_answers", lambda: engine)
    assert choice.choose(tmp_path, None) == choice.used(tmp_path, None) == expected
    assert choice.recorded(tmp_path) is None


@pytest.mark.parametrize("kind", [DOCKER, LOCAL])
def test_what_was_recorded_is_used_whatever_answers_now(tmp_path: Path, answers: pytest.MonkeyPatch, kind: str) -> None:
    """By every command but `make up`, which would begin a deployment."""
    choice.record(tmp_path, kind, insisted=False)
    assert choice.used(tmp_path, None) == choice.recorded(tmp_path) == kind
    silent(answers)
    assert choice.used(tmp_path, None) == kind


@pytest.mark.parametrize(
    ("before", "engine", "reason"),
    [
        # an engine was installed, or started, meanwhile
        (LOCAL, True, "runs as processes of this machine, and a Docker engine answers now, so it would begin anew in Docker"),
        # it was stopped, or this user may not ask it any more
        (DOCKER, False, "runs in Docker, and no Docker engine answers now, so it would begin anew as processes of this machine"),
    ],
)  # fmt: skip
def test_a_choice_that_would_be_another_is_refused_with_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, engine: bool, reason: str
) -> None:
    """Each has its own queues and products. What is recorded stays."""
    choice.record(tmp_path, before, insisted=False)
    monkeypatch.setattr(choice, "engine_answers", lambda: engine)
    with pytest.raises(RuntimeRefusal) as said:
        choice.choose(tmp_path, None)
    other = LOCAL if before == DOCKER else DOCKER
    assert reason in str(said.value)
    assert f"Say RUNTIME={before} to keep it" in str(said.value)
    assert str(said.value).endswith(f", or RUNTIME={other}.")
    assert choice.recorded(tmp_path) == before


def test_who_insists_is_not_refused_and_not_asked_again(tmp_path: Path, answers: pytest.MonkeyPatch) -> None:
    """Neither now, nor by a later `make up` that insists on nothing."""
    choice.record(tmp_path, DOCKER, insisted=False)
    assert choice.choose(tmp_path, LOCAL) == choice.used(tmp_path, LOCAL) == LOCAL
    choice.record(tmp_path, LOCAL, insisted=True)
    assert choice.choose(tmp_path, None) == LOCAL
    silent(answers)
    assert choice.choose(tmp_path, None) == LOCAL
    assert choice.choose(tmp_path, DOCKER) == DOCKER


@pytest.mark.parametrize("text", ["", "\n", "podman\n", "docker-compose insisted", "\x00"])
def test_a_record_that_says_nothing_is_none(tmp_path: Path, answers: pytest.MonkeyPatch, text: str) -> None:
    """As if this were the first time."""
    (tmp_path / "runtime").write_text(text)
    assert choice.recorded(tmp_path) is None
    assert choice.choose(tmp_path, None) == choice.used(tmp_path, None) == DOCKER


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_record_that_cannot_be_read_is_none(
    tmp_path: Path, answers: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """It is no text, or a folder."""
    if content is None:
        (tmp_path / "runtime").mkdir()
    else:
        (tmp_path / "runtime").write_bytes(content)
    assert choice.recorded(tmp_path) is None
    assert choice.choose(tmp_path, None) == DOCKER


# --- Leaving one for the other


@pytest.mark.parametrize(
    ("recorded", "insisted", "up", "refused"),
    [
        # it still runs where it would leave
        (DOCKER, LOCAL, True, True),
        (LOCAL, DOCKER, True, True),
        # it was stopped there
        (DOCKER, LOCAL, False, False),
        # it stays, or was nowhere yet
        (DOCKER, DOCKER, True, False),
        (None, DOCKER, True, False),
        # nobody insists: `choose` refuses what differs
        (DOCKER, None, True, False),
    ],
)
@pytest.mark.usefixtures("own_environment")
def test_a_deployment_runs_in_one_of_them_at_a_time(
    monkeypatch: pytest.MonkeyPatch, recorded: str | None, insisted: str | None, up: bool, refused: bool
) -> None:
    """The one that it leaves is stopped first, by the command that is named."""
    config = Settings.load().model_copy(update={"runtime": insisted})
    if recorded:
        choice.record(config.state_dir, recorded, insisted=False)
    for module in ("switchyard.runtime.local", "switchyard.runtime.docker.deployment"):
        monkeypatch.setattr(f"{module}.is_up", lambda _: up)
    monkeypatch.setattr(choice, "engine_answers", lambda: True)
    if not refused:
        runtime.not_both(config)
        return
    with pytest.raises(RuntimeRefusal, match=f"The deployment still runs; stop it first: make down RUNTIME={recorded}"):
        runtime.not_both(config)


# --- Whether an engine answers


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_machine_without_docker_has_no_engine(path: Path) -> None:
    """Nothing is run."""
    assert not choice.engine_answers()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 28.0.1", True),
        # the client alone: there is no engine, or this user may not ask it
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", False),
    ],
)
def test_an_engine_that_tells_its_version_answers(path: Path, script: str, expected: bool) -> None:
    """It is asked, because a client alone is none; and for its version only."""
    file = path / "docker"
    file.write_text(f'#!/bin/sh\n[ "$1" = version ] || exit 3\n{script}\n')
    file.chmod(0o755)
    assert choice.engine_answers() is expected


def test_a_docker_that_cannot_be_run_is_no_engine(path: Path) -> None:
    """Another machine's, or half a download."""
    (path / "docker").write_bytes(b"\x7fELF")
    (path / "docker").chmod(0o755)
    assert not choice.engine_answers()


def test_an_engine_that_hangs_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds at most; here a tenth of one."""
    (path / "docker").write_text(f"#!/bin/sh\nexec {shutil.which('sleep', path='/usr/bin:/bin')} 60\n")
    (path / "docker").chmod(0o755)
    run = choice.subprocess.run
    monkeypatch.setattr(choice.subprocess, "run", lambda *a, **k: run(*a, **{**k, "timeout": k["timeout"] / 100}))
    assert not choice.engine_answers()


def test_what_was_insisted_on_once_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Insisted, then said plainly: a third `make up` does not ask again, though an engine answers."""
    monkeypatch.setattr(choice, "engine_answers", lambda: True)
    choice.record(tmp_path, choice.LOCAL, insisted=True)
    choice.record(tmp_path, choice.choose(tmp_path, None), insisted=False)
    assert choice.choose(tmp_path, None) == choice.LOCAL


def test_a_deployment_from_before_there_was_a_choice_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queues are in its folder; an engine that answers does not make it begin anew."""
    monkeypatch.setattr(choice, "engine_answers", lambda: True)
    (tmp_path / "redis").mkdir()
    assert choice.used(tmp_path, None) == choice.LOCAL
    with pytest.raises(RuntimeRefusal, match="RUNTIME=local to keep it"):
        choice.choose(tmp_path, None)
