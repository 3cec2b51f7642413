"""scripts/run.py, which makes the environments that everything else runs in."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

from switchyard.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


class Became(BaseException):
    """What `os.execve` does to a process: nothing after it runs."""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, in a checkout of the test's own with two locks and one that is installed alone."""
    spec = importlib.util.spec_from_file_location("run_script", ROOT / "scripts" / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    checkout = tmp_path / "checkout"
    (checkout / "requirements").mkdir(parents=True)
    for lock in ("core", "demo", "data", "dev", "browser", "flower", "peers"):
        (checkout / "requirements" / f"{lock}.txt").write_text(f"{lock}==1\n")
    (checkout / ".env.example").write_text("DEMO=0\n")
    (checkout / ".env").write_text("DEMO=0\n")
    monkeypatch.setattr(module, "ROOT", checkout)
    # It puts services/ there, for the one module that it asks.
    monkeypatch.setattr(module.sys, "path", [*sys.path])
    monkeypatch.delenv("DEMO", raising=False)
    monkeypatch.delenv("STATE_DIR", raising=False)
    monkeypatch.setenv("RUNTIME", "local")
    return module


class Recorder(list[list[str]]):
    """Stands for `run`: notes each command, makes the folder that venv would make, and fails when it is told to."""

    fails = ""

    def __call__(self, command: list[str]) -> bool:
        self.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir()
        return not self.fails or self.fails not in " ".join(command)

    def installed(self) -> list[list[str]]:
        """Of each pip command the locks it was given, and whether without what they depend on."""
        pips = [command for command in self if command[1:3] == ["-m", "pip"]]
        return [[part if part == "--no-deps" else Path(part).stem for part in pip if part == "--no-deps" or ".txt" in part]
                for pip in pips]  # fmt: skip

    def venvs(self) -> int:
        return sum(command[1:3] == ["-m", "venv"] for command in self)


@pytest.fixture
def commands(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(script, "run", recorder)
    return recorder


def test_an_environment_is_made_once_and_left_alone(script: ModuleType, commands: Recorder) -> None:
    """All locks together, so that one solution holds for all; the second time nothing is run."""
    assert script.install(".venv", ["core", "demo"])
    assert (commands.venvs(), commands.installed()) == (1, [["core", "demo"]])
    commands.clear()
    assert script.install(".venv", ["core", "demo"])
    assert commands == []


def test_every_package_is_checked_against_its_hash(script: ModuleType, commands: Recorder) -> None:
    """Whatever a registry hands out."""
    script.install(".venv", ["core", "data"])
    assert all("--require-hashes" in command for command in commands if command[1:3] == ["-m", "pip"])


def test_only_a_lock_that_changed_is_installed_again(script: ModuleType, commands: Recorder) -> None:
    """Into the same environment; one that is added later joins."""
    script.install(".venv", ["core", "demo"])
    commands.clear()
    (script.ROOT / "requirements" / "demo.txt").write_text("demo==2\n")
    assert script.install(".venv", ["core", "demo", "dev"])
    assert (commands.venvs(), commands.installed()) == (0, [["demo", "dev"]])


def test_the_data_set_comes_without_what_it_depends_on(script: ModuleType, commands: Recorder) -> None:
    """Only its files are wanted."""
    script.install(".venv", ["core", "data"])
    assert commands.installed() == [["core"], ["--no-deps", "data"]]


def test_a_lock_that_a_fork_deleted_is_not_missed(script: ModuleType, commands: Recorder) -> None:
    """Neither at first nor later."""
    (script.ROOT / "requirements" / "demo.txt").unlink()
    assert script.install(".venv", ["core", "demo"])
    assert commands.installed() == [["core"]]
    (script.ROOT / "requirements" / "core.txt").unlink()
    commands.clear()
    assert script.install(".venv", ["core", "demo"])
    assert commands == []


def test_another_python_makes_the_environment_anew(
    script: ModuleType, commands: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the old one stays."""
    script.install(".venv", ["core", "demo"])
    left_over = script.ROOT / ".venv" / "left-over"
    left_over.touch()
    commands.clear()
    monkeypatch.setattr(script.sys, "version", "3.99.0 (of another day)")
    assert script.install(".venv", ["core", "demo"])
    assert (commands.venvs(), commands.installed()) == (1, [["core", "demo"]])
    assert not left_over.exists()


@pytest.mark.parametrize("what", ["venv", "pip"])
def test_half_an_installation_is_begun_again(
    script: ModuleType, commands: Recorder, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    """What failed is told, and never taken for done."""
    commands.fails = f"-m {what}"
    assert not script.install(".venv", ["core"])
    assert ("apt install python3-venv" in capsys.readouterr().err) == (what == "venv")
    commands.fails = ""
    commands.clear()
    assert script.install(".venv", ["core"])
    assert (commands.venvs(), commands.installed()) == (1, [["core"]])


def test_an_update_that_failed_is_tried_again(script: ModuleType, commands: Recorder) -> None:
    """In the environment as it is."""
    script.install(".venv", ["core"])
    (script.ROOT / "requirements" / "core.txt").write_text("core==2\n")
    commands.fails = "-m pip"
    assert not script.install(".venv", ["core"])
    commands.fails = ""
    commands.clear()
    assert script.install(".venv", ["core"])
    assert (commands.venvs(), commands.installed()) == (0, [["core"]])


def test_a_failing_commands_own_words_are_shown(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """And only a failing one's."""
    assert script.run([sys.executable, "-c", "print('hush')"])
    assert not script.run([sys.executable, "-c", "print('no such package'); raise SystemExit(1)"])
    said = capsys.readouterr()
    assert "no such package" in said.err
    assert "hush" not in said.out + said.err


# --- DEMO

HOW_DEMO_IS_READ = [
    # written in .env as it can be, without a word in the environment
    ("DEMO=1", None),
    ("DEMO=0", None),
    ("DEMO=true", None),
    ("DEMO=On", None),
    ("DEMO= yes ", None),
    ("DEMO=", None),
    ("#DEMO=1", None),
    ("", None),
    ("A=1\nDEMO=0\nDEMO=1", None),
    ("URL=redis://a?b=c\nDEMO=1", None),
    # the environment beats it
    ("DEMO=0", "1"),
    ("DEMO=1", "0"),
    ("DEMO=1", "false"),
    # what .env may hold as well
    ('DEMO="1"', None),  # quotes
    ("DEMO = 1", None),  # white space around the sign
    ("export DEMO=1", None),  # as a shell would have it
    ("DEMO=1 # yes", None),  # a comment at the end
    ("DEMO=y", None),  # a word of pydantic's
    ("DEMO=1", ""),  # empty means unset
]


@pytest.mark.parametrize(
    ("line", "variable"),
    HOW_DEMO_IS_READ,
)
def test_the_script_and_the_settings_agree_about_the_demo(
    script: ModuleType, own_environment: Path, monkeypatch: pytest.MonkeyPatch, line: str, variable: str | None
) -> None:
    """Else its packages would be missing where its programs are started."""
    (script.ROOT / ".env").write_text(f"{line}\n")
    monkeypatch.setitem(Settings.model_config, "env_file", script.ROOT / ".env")
    if variable is not None:
        monkeypatch.setenv("DEMO", variable)
    assert script.wants_demo() == Settings.load().demo


# --- main


@pytest.fixture
def became(
    script: ModuleType, commands: Recorder, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Path, list[str], dict[str, str]]]:
    """What the process became, instead of becoming it."""
    calls: list[tuple[Path, list[str], dict[str, str]]] = []

    def execve(*call: object) -> None:
        calls.append(call)  # type: ignore[arg-type]
        raise Became

    monkeypatch.setattr(script.os, "execve", execve)
    return calls


@pytest.mark.parametrize(
    ("arguments", "demo", "locks"),
    [
        # what runs, and what it needs
        (["switchyard", "up"], "0", [["core"], ["flower"]]),
        (["switchyard", "up"], "1", [["--no-deps", "data"], ["core", "demo"], ["flower"]]),
        # tests need everything, whatever DEMO says
        (["--dev", "pytest", "--dev"], "0", [["--no-deps", "data"], ["core", "demo", "dev"], ["flower"]]),
        (
            ["--dev", "--browser", "pytest"],
            "0",
            [["--no-deps", "data"], ["core", "demo", "dev", "browser"], ["flower"]],
        ),
        # peers that something is measured beside have an environment of their own
        (["--peers", "bench.no_op"], "0", [["--no-deps", "data"], ["core", "demo"], ["flower"], ["peers"]]),
    ],
)
def test_the_process_becomes_the_module_in_an_environment_that_holds_what_it_needs(
    script: ModuleType, commands: Recorder, became: list[tuple[Path, list[str], dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], demo: str, locks: list[list[str]],
) -> None:  # fmt: skip
    """With services/ on its path, before what was there; only what stands before the module is ours."""
    (script.ROOT / ".env").write_text(f"DEMO={demo}\n")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    with pytest.raises(Became):
        script.main(arguments)
    assert sorted(commands.installed()) == locks
    ((program, command, environment),) = became
    assert program == script.ROOT / ".venv" / "bin" / "python"
    module = next(n for n, argument in enumerate(arguments) if not argument.startswith("--"))
    assert command[1:] == ["-m", *arguments[module:]]
    assert environment["PYTHONPATH"] == f"{script.ROOT / 'services'}:/elsewhere"


@pytest.mark.parametrize(
    ("line", "variable", "recorded", "locks"),
    [
        # who insists, in .env or in the environment, which beats it
        ("RUNTIME=docker", "", None, [["core"]]),
        ("RUNTIME=local", "", None, [["core"], ["flower"]]),
        ("RUNTIME=docker", "local", "docker", [["core"], ["flower"]]),
        # else it is as it was before
        ("", "", "docker", [["core"]]),
        ("", "", "local insisted", [["core"], ["flower"]]),
        # in whatever folder that is kept
        ("STATE_DIR=elsewhere", "", "docker", [["core"]]),
    ],
)
@pytest.mark.usefixtures("became")
def test_flower_is_not_installed_where_it_runs_in_a_container(
    script: ModuleType, commands: Recorder, monkeypatch: pytest.MonkeyPatch,
    line: str, variable: str, recorded: str | None, locks: list[list[str]],
) -> None:  # fmt: skip
    """Its image has its packages."""
    (script.ROOT / ".env").write_text(f"{line}\n")
    monkeypatch.setenv("RUNTIME", variable)
    if recorded:
        state_dir = script.ROOT / (line.partition("STATE_DIR=")[2] or ".switchyard")
        state_dir.mkdir()
        (state_dir / "runtime").write_text(recorded)
    with pytest.raises(Became):
        script.main(["switchyard", "up"])
    assert sorted(commands.installed()) == locks


def test_a_missing_dotenv_is_copied_and_an_existing_one_is_yours(
    script: ModuleType, became: list[tuple[Path, list[str], dict[str, str]]]
) -> None:
    """Never overwritten."""
    (script.ROOT / ".env.example").write_text("DEMO=1\n")
    with pytest.raises(Became):
        script.main(["switchyard"])
    assert (script.ROOT / ".env").read_text() == "DEMO=0\n"
    (script.ROOT / ".env").unlink()
    with pytest.raises(Became):
        script.main(["switchyard"])
    assert (script.ROOT / ".env").read_text() == "DEMO=1\n"


def test_an_old_python_is_refused_before_anything_is_touched(
    script: ModuleType, commands: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the next step."""
    monkeypatch.setattr(script, "OLDEST", (99, 0))
    (script.ROOT / ".env").unlink()
    assert script.main(["switchyard"]) == 1
    assert "error: Python 99.0 or later is needed, this is" in capsys.readouterr().err
    assert not (script.ROOT / ".env").exists()
    assert commands == []


def test_what_cannot_be_installed_is_a_sentence_and_nothing_runs(
    script: ModuleType, commands: Recorder, became: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Even if the other environment is fine."""
    commands.fails = "flower.txt"
    assert script.main(["switchyard"]) == 1
    assert "error: the packages could not be installed; the reason is above." in capsys.readouterr().err
    assert became == []


def test_the_script_needs_nothing_but_the_standard_library() -> None:
    """It runs before anything is installed, wherever it is called from."""
    code = (
        f"import runpy, sys; run = runpy.run_path({str(ROOT / 'scripts' / 'run.py')!r}); "
        f"sys.path.insert(0, {str(ROOT / 'services')!r}); import switchyard.runtime.choice"
    )
    done = subprocess.run([sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_second_installation_waits_for_the_first(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """It would otherwise remove the half of an environment that the first one has made."""
    ended: list[str] = []

    def second() -> None:
        with script.alone():
            ended.append("second")

    with script.alone():
        thread = threading.Thread(target=second)
        thread.start()
        while "waiting for it" not in capsys.readouterr().out:
            assert thread.is_alive()
        ended.append("first")
    thread.join()
    assert ended == ["first", "second"]
