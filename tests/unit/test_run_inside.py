"""A command that runs in a container of its own: what it is given of this machine, and what it must not be. No engine is needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from switchyard.runtime.docker import inside
from switchyard.runtime.docker.compose import Compose
from switchyard.settings import ROOT, Settings, secret_names

pytestmark = pytest.mark.usefixtures("own_environment")

Asked = list[Sequence[str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What Compose was called with, from no terminal; no report was ever made."""
    calls: Asked = []
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr(Compose, "call", lambda _, *arguments: calls.append(arguments) or 42)
    monkeypatch.setattr(Compose, "containers", lambda _: ["one that is up"])
    for name in list(inside.environment()):
        if name not in ("PATH", "STATE_DIR", "CONFIG_DIR"):
            monkeypatch.delenv(name)
    return calls


def run(asked: Asked, *arguments: str) -> list[str]:
    """The one call, which has to begin and to end as every other does: what stands between."""
    assert inside.run_inside(Settings.load(), "demo.seed", arguments) == 42
    (call,) = asked
    begin, end = ["run", "--rm", "--no-deps", "-T"], ["tools", "python", "-m", "demo.seed"]
    assert [*call[:4]] == begin
    where = call.index("tools")
    assert [*call[where : where + 4]] == end
    return [*call[4:where], "--", *call[where + 4 :]]


def test_a_command_is_given_its_arguments_and_its_exit_code_is_told(asked: Asked) -> None:
    """As they are."""
    assert run(asked, "--limit", "10", "a b", "--file") == ["--", "--limit", "10", "a b", "--file"]


def test_a_file_of_this_machine_is_there_as_well(asked: Asked, tmp_path: Path) -> None:
    """To be read, and under a name that the command is told."""
    file = tmp_path / "products of may.csv"
    file.write_text("")
    assert run(asked, "--file", str(file)) == [
        "--volume", f"{file}:/mnt/products of may.csv:ro", "--", "--file", "/mnt/products of may.csv"
    ]  # fmt: skip


def test_a_setting_of_this_command_goes_along_by_its_name(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its value is on no command line; what is no setting stays here."""
    monkeypatch.setenv("TIMEZONE", "Europe/Berlin")
    monkeypatch.setenv("SHELL_OF_MINE", "x")
    assert run(asked) == ["--env", "TIMEZONE", "--"]


def of_containers() -> set[str]:
    """The settings that containers have of their own."""
    found: set[str] = set()
    for file in ("app.yml", "tools.yml"):
        for service in yaml.safe_load((ROOT / "compose" / file).read_text())["services"].values():
            found |= service.get("environment", {}).keys()
    return {name.removesuffix("_FILE") for name in found} - {"HOME"}


def test_what_containers_have_of_their_own_is_not_given(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of this machine, its runtime and its ports are not theirs; the core's secrets are files of a role."""
    own = of_containers() | {name.upper() for name in secret_names(Settings)}
    assert {"RUNTIME", "STATE_DIR", "SUPPLIER_PORT", "CELERY_BROKER_URL", "FLOWER_BASIC_AUTH"} <= own
    values = {
        "SUPPLIER_PORT": "8111",
        "RUNTIME": "docker",
        "CELERY_BROKER_URL": "redis://a/0",
        "CELERY_RESULT_BACKEND": "redis://a/1",
    }
    for name in own - {"STATE_DIR", "CONFIG_DIR"}:
        monkeypatch.setenv(name, values.get(name, str(Path("/nowhere"))))
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    assert run(asked) == ["--"]
