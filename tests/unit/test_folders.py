"""What containers are given: a folder of files for each role and no more, values as they were, and nothing new the second time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from dotenv import dotenv_values

from switchyard.queues import Queues, parse
from switchyard.runtime.docker import folders
from switchyard.settings import Settings

pytestmark = pytest.mark.usefixtures("own_environment")

#: Of each role its files. Only Redis' own container has the list of users, and only Flower's its credentials.
FILES = {
    "worker": {"broker_url", "result_backend", "env"},
    "producer": {"broker_url", "result_backend", "env", "api_tokens"},
    "flower": {"broker_url", "result_backend", "flower_basic_auth"},
    "redis": {"users.acl", "health_password", "admin_password"},
    "demo": {"env"},
}


@pytest.fixture(autouse=True)
def checkout(own_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the `.env` that is read."""
    monkeypatch.setattr(folders, "ROOT", own_environment.parent)
    return own_environment.parent


def some(**tables: dict[str, Any]) -> Queues:
    return parse({"queues": tables}, {}, where="queues.toml")


def write(queues: Queues | None = None) -> tuple[bool, Path]:
    """Whether Redis must be told, and the folder that was written."""
    config = Settings.load()
    return folders.write(config, queues or some()), folders.folder(config)


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_only_their_owner_comes_to_the_files_and_any_containers_user_reads_its_own() -> None:
    """The folder around them is closed; what is inside is mounted, and read by a number this machine does not know.

    A second time, too, and whatever the umask.
    """
    for _ in range(2):
        _, folder = write()
        for path in [folder, *folder.rglob("*")]:
            expected = 0o700 if path == folder else 0o755 if path.is_dir() else 0o644
            assert (path, oct(stat.S_IMODE(path.stat().st_mode))) == (path, oct(expected))


def test_each_role_has_its_files_and_no_others() -> None:
    """What is mounted is all that its containers see; a service's fingerprint is Compose's to read."""
    _, folder = write(some(a={}))
    found = {path.name: {file.name for file in path.iterdir()} for path in folder.iterdir() if path.is_dir()}
    assert found == FILES
    services = {"worker-default", "worker-a", "producer", "consumer", "clock", "flower", "redis", "seed", "supplier"}
    assert {path.name for path in folder.iterdir() if path.is_file()} == {f"{service}.env" for service in services}


def test_each_role_logs_in_as_itself() -> None:
    """With a password of its own; results are in a database of their own."""
    _, folder = write()
    passwords = set()
    for role in ("worker", "producer", "flower"):
        for file, database in (("broker_url", "/0"), ("result_backend", "/1")):
            url = urlsplit((folder / role / file).read_text())
            assert (url.scheme, url.username, url.hostname, url.port, url.path) == (
                "redis",
                role,
                "redis",
                6379,
                database,
            )
            passwords.add(url.password)
    assert len(passwords) == 3
    assert min(len(password or "") for password in passwords) >= 40
    assert not {(folder / "redis" / f"{role}_password").read_text() for role in ("health", "admin")} & passwords


def test_a_redis_of_yours_goes_to_every_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its users are yours; results are there, too, unless they have a place of their own."""
    monkeypatch.setenv("CELERY_BROKER_URL", "rediss://me:p%40ss@redis.example/7")
    for backend in (None, "redis://elsewhere/3"):
        if backend:
            monkeypatch.setenv("CELERY_RESULT_BACKEND", backend)
        _, folder = write()
        for role in ("worker", "producer", "flower"):
            assert (folder / role / "broker_url").read_text() == "rediss://me:p%40ss@redis.example/7"
            assert (folder / role / "result_backend").read_text() == (backend or "rediss://me:p%40ss@redis.example/7")


def test_no_secret_of_the_core_is_in_env(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the file of one, which is not there in a container: whoever needs it has it in a file of its role."""
    (checkout / "auth").write_text("admin:of-a-file")
    (checkout / ".env").write_text(
        f"CELERY_BROKER_URL=redis://:in-dotenv@a/0\nFLOWER_BASIC_AUTH_FILE={checkout}/auth\nCELERY_APP=a:b\n"
    )
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://:in-environment@a/1")
    _, folder = write()
    for role in ("worker", "producer", "demo"):
        assert dotenv_values(folder / role / "env").keys() == {"CELERY_APP", "CONFIG_DIR", "STATE_DIR", "RUNTIME"}
    assert (folder / "flower" / "flower_basic_auth").read_text().strip() == "admin:of-a-file"


ODD = [
    # quotes, escapes, and what looks like them
    "it's", '"quoted"', "'", "\\", "\\n", "\\'", "a\\", "trailing ' \\",
    # more than one line, and what would begin another
    "a\nb", "a\nLOG_LEVEL=DEBUG", "  spaces  ", "\ttab", "# no comment", "a # b",
    # what would be filled in
    "$HOME", "${HOME}", "a${x}b", "${x:-y}", "$${x}", "${", "$", "{a}", "$(id)", "`id`",
    # any other text
    "ünï·✓", "a=b",
]  # fmt: skip


@pytest.mark.parametrize("value", ODD)
def test_a_value_comes_out_of_env_as_it_went_in(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Read as a container reads it, whatever else is in its environment."""
    monkeypatch.setenv("QUEUES__A__LOG_LEVEL", value)
    _, folder = write()
    monkeypatch.delenv("QUEUES__A__LOG_LEVEL")
    monkeypatch.setenv("x", "filled in")
    found = dotenv_values(folder / "worker" / "env")
    assert found["QUEUES__A__LOG_LEVEL"] == value
    assert "LOG_LEVEL" not in found


def test_this_commands_settings_beat_dotenv_and_an_empty_one_means_unset(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for every process of this machine; what else .env holds is a fork's own, and comes along."""
    (checkout / ".env").write_text("LOG_LEVEL=DEBUG\nTIMEZONE=Europe/Berlin\nSHOP_KEY=a\nEMPTY=\n")
    monkeypatch.setenv("TIMEZONE", "Asia/Tokyo")
    monkeypatch.setenv("LOG_LEVEL", "")
    monkeypatch.setenv("SHOP_OTHER", "this machine's")
    found = dotenv_values(write()[1] / "worker" / "env")
    assert {name: found.get(name) for name in ("LOG_LEVEL", "TIMEZONE", "SHOP_KEY", "EMPTY", "SHOP_OTHER")} == {
        "LOG_LEVEL": "DEBUG",
        "TIMEZONE": "Asia/Tokyo",
        "SHOP_KEY": "a",
        "EMPTY": None,
        "SHOP_OTHER": None,
    }


def test_a_second_time_changes_nothing() -> None:
    """No file is written anew, so no container is made anew."""
    _, folder = write(some(a={}))
    before = {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}
    write(some(a={}))
    assert {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()} == before


def test_a_new_queue_changes_who_may_what_and_nothing_else() -> None:
    """Neither a password nor another queue's fingerprint."""
    _, folder = write(some(a={}))
    before = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    write(some(a={}, b={}))
    after = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in after if after[name] != before.get(name)} == {"users.acl", "worker-b.env"}


def test_a_setting_makes_those_containers_anew_that_read_it() -> None:
    """By the fingerprint in their environment; the others go on."""
    _, folder = write(some(a={"drain": 5}, b={}))
    before = {path.name: path.read_text() for path in folder.glob("*.env")}
    assert all(text.startswith("SETTINGS_FINGERPRINT=") for text in before.values())
    write(some(a={"drain": 6}, b={}))
    assert {name for name in before if (folder / name).read_text() != before[name]} == {"worker-a.env"}


def test_a_reader_never_sees_half_a_file() -> None:
    """One that changes is another file in its place; no draft is left."""
    _, folder = write(some(a={}))
    users = folder / "redis" / "users.acl"
    before = users.stat().st_ino
    write(some(a={}, b={}))
    assert users.stat().st_ino != before
    assert [path.name for path in folder.rglob(".*")] == []
