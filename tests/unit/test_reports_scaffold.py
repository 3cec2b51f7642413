"""`make new-report`: a name in, a module, its test and its table out, which run as they are; or a sentence, and nothing has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from switchyard import queues, render
from switchyard.errors import ConfigError, ReportError, SwitchyardError
from switchyard.render import readme
from switchyard.render.tasks import refusals
from switchyard.reports import scaffold
from switchyard.reports.code import code_of
from switchyard.settings import ROOT, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUES = '# Ours.\n[queues.default]\ntasks = ["*"]  # all of it\n'


@pytest.fixture
def checkout(config_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fork's checkout: its app in a package of its own, a queues file, a README with our table."""
    monkeypatch.setattr(scaffold, "ROOT", tmp_path)
    monkeypatch.setenv("CELERY_APP", "stall.celery:app")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "services"))
    (tmp_path / "services" / "stall").mkdir(parents=True)
    (tmp_path / "services" / "stall" / "__init__.py").write_text("")
    (tmp_path / "services" / "stall" / "celery.py").write_text(
        'from celery import Celery\napp = Celery("stall")\napp.config_from_object("switchyard.celeryconfig")\n'
    )
    (config_dir / "queues.toml").write_text(QUEUES)
    (tmp_path / "README.md").write_text(f"# Stall\n{readme.BEGIN}\n{readme.END}\n")
    render.write(config_dir)
    (tmp_path / "state").rmdir()
    return tmp_path


def state(folder: Path) -> dict[str, str | None]:
    """Every file with its text, every folder."""
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in folder.rglob("*")}


def write(name: str) -> list[str]:
    return [str(path) for path in scaffold.write(Settings.load(), name)]


def refusal(name: str) -> str:
    with pytest.raises(SwitchyardError) as refused:
        write(name)
    assert isinstance(refused.value, ReportError | ConfigError)
    return str(refused.value)


# --- What is written


def test_a_new_report_is_a_module_its_test_and_its_table(checkout: Path) -> None:
    """And what follows from the table; packages where there were none. All that is written is told."""
    before = state(checkout)
    written = write("late_returns")
    after = state(checkout)
    assert {name for name in after if after[name] != before.get(name, "")} == {
        "config/queues.toml",
        "config/supervisor/queues.conf",
        "README.md",
        "services/stall/tasks",
        "services/stall/tasks/reports",
        "services/stall/tasks/reports/late_returns.py",
        "tests",
        "tests/unit",
        "tests/unit/test_report_late_returns.py",
    }
    files = {name for name, text in after.items() if text is not None and text != before.get(name)}
    assert {str(Path(path).relative_to(checkout)) for path in written} == files
    assert {"services/stall/tasks/__init__.py", "services/stall/tasks/reports/__init__.py"} <= files
    assert "__NAME__" not in "".join(filter(None, after.values()))
    assert '"""Late returns: ' in str(after["services/stall/tasks/reports/late_returns.py"])


def test_the_written_table_loads_and_the_rest_of_the_file_stays(checkout: Path) -> None:
    """Comments too; a second report is a second table."""
    write("returns")
    write("tax")
    text = (checkout / "config" / "queues.toml").read_text()
    assert text == (
        f'{QUEUES}\n[reports.returns]\nmodule = "stall.tasks.reports.returns"\n'
        '\n[reports.tax]\nmodule = "stall.tasks.reports.tax"\n'
    )
    found = queues.load(checkout / "config", {})
    assert found.report("returns").module == "stall.tasks.reports.returns"
    assert render.stale(checkout / "config") == []


@pytest.mark.parametrize("text", ["", "[queues.default]\ntasks = ['*']", "[queues.default]\n\n\n"])
def test_the_table_is_added_however_the_file_ends(checkout: Path, text: str) -> None:
    """Empty, without a last line's end, or with too many."""
    (checkout / "config" / "queues.toml").write_text(text)
    write("returns")
    assert list(queues.load(checkout / "config", {}).reports) == ["returns"]
    assert "\n\n\n" not in (checkout / "config" / "queues.toml").read_text()


def test_packages_that_are_there_are_kept(checkout: Path) -> None:
    """Of somebody's own, with something in them."""
    init = checkout / "services" / "stall" / "tasks" / "__init__.py"
    init.parent.mkdir()
    init.write_text("# mine\n")
    assert str(init) not in write("returns")
    assert init.read_text() == "# mine\n"


def test_the_written_test_passes(checkout: Path) -> None:
    """By pytest, with the repository's own strictness, as the first thing that somebody does."""
    write("returns")
    path = os.pathsep.join([str(ROOT / "services"), str(checkout / "services")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests/unit"]
    done = subprocess.run(
        command, cwd=checkout, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_written_module_is_a_report_whose_tasks_its_queues_take(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make render` and `make up` have nothing to say against it."""
    write("returns")
    found = queues.load(checkout / "config", {})
    assert refusals(Settings.load(), found, {}) == []
    monkeypatch.syspath_prepend(checkout / "services")
    for name in [name for name in sys.modules if name.split(".")[0] == "stall"]:
        monkeypatch.delitem(sys.modules, name)
    assert code_of(found.report("returns")).parameters().model_dump() == {"least": 1}


@pytest.mark.parametrize("tool", [["ruff", "format", "--check"], ["ruff", "check"]])
def test_what_is_written_passes_the_repositorys_own_checks(checkout: Path, tool: list[str]) -> None:
    """`make check` stays green."""
    ruff = pytest.importorskip("ruff", reason="a tool of development").find_ruff_bin()
    write("returns")
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    done = subprocess.run(
        [ruff, *tool[1:], *config, "services/stall/tasks", "tests"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- Refusals


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        # no name of a queue could be made of it
        ("Returns", "'Returns': bad name; expected a-z, 0-9 and single _, starting with a letter."),
        ("a b", "'a b': bad name;"),
        ("a__b", "'a__b': bad name;"),
        ("a-b", "'a-b': bad name;"),
        ("1st", "'1st': bad name;"),
        ("a\n", r"'a\n': bad name;"),
        ("a_", "reports.a_: bad name;"),
        # it would lead elsewhere, or end the table's head
        ("../x", "'../x': bad name;"),
        ("/etc/x", "'/etc/x': bad name;"),
        ('a"]', """'a"]': bad name;"""),
        ("a]\n[queues.b", r"'a]\n[queues.b': bad name;"),
        # Python could not import it
        ("class", "'class' is a word of Python's own; choose another name."),
        ("import", "'import' is a word of Python's own"),
    ],
)
def test_a_bad_name_is_refused(checkout: Path, name: str, sentence: str) -> None:
    """Before anything is written."""
    before = state(checkout)
    assert sentence in refusal(name)
    assert state(checkout) == before


def test_a_report_that_is_there_is_not_written_over(checkout: Path) -> None:
    """By its table, with its module."""
    write("returns")
    before = state(checkout)
    said = refusal("returns")
    assert said == "There is a report 'returns' already: stall.tasks.reports.returns. Choose another name."
    assert state(checkout) == before


@pytest.mark.parametrize("queue", ["returns_aggregator_queue", "returns_report_queue"])
def test_a_queue_that_is_there_is_not_taken(checkout: Path, queue: str) -> None:
    """Its table would amend the report's."""
    (checkout / "config" / "queues.toml").write_text(f"[queues.{queue}]\nconcurrency = 3\n")
    before = state(checkout)
    assert (
        refusal("returns") == f"There is a queue {queue!r} already, which the report would take; choose another name."
    )
    assert state(checkout) == before


@pytest.mark.parametrize(
    "file", ["services/stall/tasks/reports/returns.py", "tests/unit/test_report_returns.py"]
)  # fmt: skip
def test_a_file_that_is_there_is_not_written_over(checkout: Path, file: str) -> None:
    """Somebody's module or test, without a table."""
    (checkout / file).parent.mkdir(parents=True)
    (checkout / file).write_text("# mine\n")
    before = state(checkout)
    assert refusal("returns") == (
        f"{checkout / file} exists; nothing was written. Choose another name, or remove it first."
    )
    assert state(checkout) == before


@pytest.mark.parametrize(
    ("file", "folder"), [("services/stall/tasks.py", "tasks"), ("services/stall/tasks/reports.py", "reports")]
)
def test_a_module_in_the_way_of_a_folder_is_named(checkout: Path, file: str, folder: str) -> None:
    """Python would find the folder from then on, and never again the module."""
    (checkout / file).parent.mkdir(exist_ok=True)
    (checkout / file).write_text("# mine\n")
    before = state(checkout)
    assert refusal("returns") == (
        f"{checkout / file} is in the way of the folder {folder}/; move it to {folder}/__init__.py and run this again."
    )
    assert state(checkout) == before


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        # none, or one that names no package
        ("", "CELERY_APP is not set; it names your Celery app, such as proj.celery:app, beside which reports go."),
        (
            "app:app",
            "CELERY_APP: 'app:app' is in no package that can be found; put it in one, such as proj.celery:app.",
        ),
        ("nowhere.celery:app", "CELERY_APP: 'nowhere.celery:app' is in no package that can be found;"),
    ],
)
def test_an_app_beside_which_no_report_can_go_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, app: str, sentence: str
) -> None:
    """With the setting to mend."""
    monkeypatch.setenv("CELERY_APP", app)
    before = state(checkout)
    assert refusal("returns").startswith(sentence)
    assert state(checkout) == before


@pytest.mark.parametrize(
    ("main", "local", "sentence"),
    [
        # a file that is refused already
        ("[queues", "", "it is not valid TOML"),
        ("[queues.a]\nzzz = 1\n", "", "queues.toml: queues.a.zzz: unknown key."),
        # one that takes no further table
        ("reports = {}\n", "", "queues.toml takes no new table: it is not valid TOML"),
        # this machine's own file is refused, or refuses what follows from the table
        ("", "[queues.a]\nzzz = 1\n", "queues.toml with queues.local.toml: queues.a.zzz: unknown key."),
        ("", '[queues.returns_report_queue]\ntasks = ["x"]\n', "queues.returns_report_queue.tasks: its report decides it"),
        ("", "[reports.returns]\nkeep = 0\n", "reports.returns.keep: input should be greater than"),
    ],
)  # fmt: skip
def test_nothing_is_written_into_a_file_that_would_be_refused(
    checkout: Path, main: str, local: str, sentence: str
) -> None:
    """Not the module either."""
    (checkout / "config" / "queues.toml").write_text(main)
    if local:
        (checkout / "config" / "queues.local.toml").write_text(local)
    before = state(checkout)
    assert sentence in refusal("returns")
    assert state(checkout) == before


def _read_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to write here, as a file system does for everybody but root."""
    real = Path.write_text

    def write_text(self: Path, *args: str) -> int:
        if self in (path, path.with_name(f".{path.name}.draft")):
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args)

    monkeypatch.setattr(Path, "write_text", write_text)


def _full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truncate, and then find no room: what a full disk does to a file that is written over."""
    real = Path.write_text

    def write_text(self: Path, *args: str) -> int:
        if self in (path, path.with_name(f".{path.name}.draft")):
            real(self, "")
            raise OSError(28, "No space left on device", str(self))
        return real(self, *args)

    monkeypatch.setattr(Path, "write_text", write_text)


@pytest.mark.parametrize("fail", [_read_only, _full])
@pytest.mark.parametrize(
    "file",
    [
        # each that is written, in the order of writing
        "services/stall/tasks/__init__.py",
        "services/stall/tasks/reports/returns.py",
        "tests/unit/test_report_returns.py",
        "config/queues.toml",
        # and what is rendered
        "config/supervisor/queues.conf",
        "README.md",
    ],
)
def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, file: str, fail: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    """Neither half a report nor an empty folder; queues.toml is as it was."""
    before = state(checkout)
    with monkeypatch.context() as patch:
        fail(checkout / file, patch)
        said = refusal("returns")
    assert said.startswith(f"{checkout / file} cannot be written (")
    assert said.endswith("); nothing has changed.")
    assert state(checkout) == before


def test_a_file_where_a_folder_must_be_leaves_nothing_behind(checkout: Path) -> None:
    """It is named."""
    (checkout / "tests").write_text("")
    before = state(checkout)
    assert f"{checkout / 'tests'}" in refusal("returns")
    assert state(checkout) == before


def test_an_installed_package_is_not_written_to(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next installation would overwrite it."""
    (tmp_path / "site-packages" / "sold").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.setenv("CELERY_APP", "sold.celery:app")
    before = state(checkout)
    assert "is an installed package, which the next installation overwrites" in refusal("returns")
    assert state(checkout) == before
