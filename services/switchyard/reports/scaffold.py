"""The beginnings of a report: a name in, its module, its test and its table in queues.toml out, all of which run as they are."""

from __future__ import annotations

import keyword
import sys
import tomllib
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from switchyard import queues, render
from switchyard.errors import ConfigError, ReportError, SwitchyardError
from switchyard.settings import ROOT, Settings


def write(config: Settings, name: str) -> list[Path]:
    """Write a report `name` into the package of CELERY_APP and render; returns what was written.

    Raises ReportError or ConfigError, and then nothing has changed.
    """
    package, folder = _package(config)
    module = f"{package}.tasks.reports.{name}"
    toml = config.config_dir / "queues.toml"
    before = toml.read_text() if toml.exists() else ""
    after = before.rstrip("\n") + "\n" * bool(before) + _filled("table", name, module)
    _refuse(name, before, after)
    new = {folder / "tasks" / "reports" / f"{name}.py": _filled("report", name, module),
           ROOT / "tests" / "unit" / f"test_report_{name}.py": _filled("test", name, module)}  # fmt: skip
    for path in new:
        if path.exists():
            raise ReportError(f"{path} exists; nothing was written. Choose another name, or remove it first.")
    packages = {path: "" for path in (folder / "tasks" / "__init__.py", folder / "tasks" / "reports" / "__init__.py")
                if not path.exists()}  # fmt: skip
    return _all_or_nothing({**packages, **new, toml: after}, config.config_dir)


def _package(config: Settings) -> tuple[str, Path]:
    """The package of the app and its folder, found without importing anything of it."""
    if not config.celery_app:
        raise ReportError(
            "CELERY_APP is not set; it names your Celery app, such as proj.celery:app, beside which reports go."
        )
    package = config.celery_app.partition(":")[0].rpartition(".")[0]
    folders = [Path(entry or ".") / Path(*package.split(".")) for entry in (str(ROOT / "services"), *sys.path)]
    folder = next((folder for folder in folders if package and folder.is_dir()), None)
    if folder is None:
        raise ReportError(
            f"CELERY_APP: {config.celery_app!r} is in no package that can be found; put it in one, such as proj.celery:app."
        )
    if {"site-packages", "dist-packages"} & set(folder.parts):
        raise ReportError(f"{folder} is an installed package, which the next installation overwrites; "
                          "put the report's module where your code is kept, and its table in queues.toml.")  # fmt: skip
    for path in (folder / "tasks.py", folder / "tasks" / "reports.py"):
        if path.exists():
            raise ReportError(f"{path} is in the way of the folder {path.stem}/; "
                              f"move it to {path.stem}/__init__.py and run this again.")  # fmt: skip
    return package, folder


def _refuse(name: str, before: str, after: str) -> None:
    """Refuse what would not load, before anything is written."""
    if bad := queues.bad_name(name):
        raise ReportError(f"{name!r}: {bad}")
    if keyword.iskeyword(name):
        raise ReportError(f"{name!r} is a word of Python's own; choose another name.")
    known = _parsed(before)
    if name in known.reports:
        raise ReportError(f"There is a report {name!r} already: {known.reports[name].module}. Choose another name.")
    for queue in _parsed(after).report(name).queues:
        if queue in known.by_name:
            raise ReportError(f"There is a queue {queue!r} already, which the report would take; choose another name.")


def _parsed(text: str) -> queues.Queues:
    try:
        return queues.parse(tomllib.loads(text), {}, where="queues.toml")
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"queues.toml takes no new table: it is not valid TOML ({exc}).") from exc


def _filled(template: str, name: str, module: str) -> str:
    text = (files("switchyard.reports") / "new" / f"{template}.txt").read_text()
    title = name.replace("_", " ").capitalize()
    return text.replace("__NAME__", name).replace("__MODULE__", module).replace("__TITLE__", title)


def _all_or_nothing(texts: dict[Path, str], config_dir: Path) -> list[Path]:
    """Write these files, and what is rendered from them; if either is refused, all is as it was."""
    folders = {folder for path in texts for folder in path.parents if not folder.exists()}
    before = {path: path.read_bytes() if path.exists() else None for path in texts}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, text)
        before |= {path: path.read_bytes() if path.exists() else None for path in render.rendered(config_dir)}
        return [*texts, *render.write(config_dir)]
    except (OSError, SwitchyardError) as exc:
        _restore(before, folders)
        if isinstance(exc, OSError):
            raise ReportError(f"{exc.filename} cannot be written ({exc.strerror}); nothing has changed.") from exc
        raise


def _write(path: Path, text: str) -> None:
    """Whole, or not at all: running publishers read queues.toml again as soon as it changes."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text)
        draft.replace(path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise OSError(exc.errno, exc.strerror, str(path)) from exc


def _restore(before: dict[Path, bytes | None], folders: set[Path]) -> None:
    for path, content in before.items():
        if path.exists() and content is None:
            path.unlink()
        elif content is not None and path.read_bytes() != content:
            path.write_bytes(content)
    for folder in sorted(folders, reverse=True):
        with suppress(OSError):  # somebody else has put something there meanwhile
            folder.rmdir()
