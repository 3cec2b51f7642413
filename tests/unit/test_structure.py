"""The rooms and their doors: who imports whom, how large a module may be, what a public function must say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "services" / "switchyard"
MODULES = sorted(CORE.rglob("*.py"))
LONGEST = 300


def name_of(path: Path) -> str:
    """`switchyard.worker.launch`, and `switchyard.worker` for its __init__."""
    parts = path.relative_to(CORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str, module: str, *, package: bool = False) -> set[str]:
    """Every module that this source imports, at any depth of it, relative ones resolved, `import_module("…")` included.

    Of `from a import b` both `a` and `a.b`: `b` may be a module.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: len(module.split(".")) - node.level + package] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found |= {start, *(f"{start}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                found.add(str(node.args[0].value))
    return found


def doors(room: str, *, closed_to: str) -> list[str]:
    """The imports of `closed_to` in the modules of `room`."""
    return [
        f"{name_of(path)} imports {name}"
        for path in MODULES
        if within(name_of(path), room)
        for name in sorted(imported(path.read_text(), name_of(path), package=path.name == "__init__.py"))
        if within(name, closed_to)
    ]


def within(name: str, room: str) -> bool:
    """Whether a module is `room` or in it; `switchyard.workers` is not in `switchyard.worker`."""
    return name == room or name.startswith(f"{room}.")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # each form an import can have
        ("import a.b", {"a.b"}),
        ("import a.b as c", {"a.b"}),
        ("from a import b", {"a", "a.b"}),
        ("def f():\n    from a import b", {"a", "a.b"}),
        ("from . import b", {"switchyard.room", "switchyard.room.b"}),
        ("from ..other import b", {"switchyard.other", "switchyard.other.b"}),
        ("import importlib\nimportlib.import_module('a.b')", {"importlib", "a.b"}),
        ("__import__('a')", {"a"}),
    ],
)
def test_the_checks_below_see_every_form_of_import(source: str, expected: set[str]) -> None:
    """A check that finds nothing must be able to find something."""
    assert imported(source, "switchyard.room.module") == expected


def test_there_is_something_to_check() -> None:
    """Both rooms exist, and their modules are found."""
    assert {"switchyard", "switchyard.producer", "switchyard.worker.launch"} <= {name_of(path) for path in MODULES}


def test_the_core_never_imports_the_demo() -> None:
    """A fork deletes it."""
    assert doors("switchyard", closed_to="demo") == []


def test_the_producer_never_imports_the_worker() -> None:
    """It publishes by task name."""
    assert doors("switchyard.producer", closed_to="switchyard.worker") == []


def test_the_worker_never_imports_the_producer() -> None:
    """It consumes, whoever published."""
    assert doors("switchyard.worker", closed_to="switchyard.producer") == []


def test_what_an_event_starts_is_found_without_a_door_and_without_a_worker() -> None:
    """All doors lead through it."""
    assert doors("switchyard.events", closed_to="switchyard.producer") == []
    assert doors("switchyard.events", closed_to="switchyard.worker") == []


def test_queues_is_pure() -> None:
    """It knows files and errors: no settings, no Celery, no Redis."""
    for module, ours in (
        ("queue", set()),
        ("report", {"switchyard.queue"}),
        ("queues", {"switchyard.errors", "switchyard.queue", "switchyard.report"}),
    ):
        names = imported((CORE / f"{module}.py").read_text(), f"switchyard.{module}")
        found = {".".join(name.split(".")[:2]) for name in names if within(name, "switchyard")}
        assert found == ours
        assert not {name for name in names if name.split(".")[0] in ("celery", "kombu", "redis", "os")}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_one_idea_that_says_what_it_is(path: Path) -> None:
    """A docstring, and at most 300 lines."""
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) <= LONGEST


Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(source: str) -> list[Function]:
    """Functions of a module and methods of its public classes whose names say that others may call them. What overrides
    another library's method is documented there.
    """
    found: list[Function] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            documented_elsewhere = {ast.unparse(base) for base in node.bases} & {
                "PydanticBaseSettingsSource",
                "BaseSettings",
            }
            found += [n for n in node.body if isinstance(n, Function) and not documented_elsewhere]
        elif isinstance(node, Function):
            found.append(node)
    return [function for function in found if not function.name.startswith("_")]


def bare_arguments(function: Function) -> list[str]:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    every += [a for a in (function.args.vararg, function.args.kwarg) if a]
    return [a.arg for a in every if a.annotation is None and a.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_public_function_is_documented_and_annotated(path: Path) -> None:
    """What it does, what it takes and what it returns."""
    functions = public_functions(path.read_text())
    assert [f.name for f in functions if not ast.get_docstring(f)] == []
    assert [f.name for f in functions if f.returns is None or bare_arguments(f)] == []


def test_the_check_above_sees_what_is_missing() -> None:
    """Of functions and methods; what is private may be silent."""
    bare, method = public_functions("def a(b, *, c: int): ...\nclass D:\n    def e(self): ...\n    def _f(self): ...\n")
    assert (bare.name, bare_arguments(bare), bare.returns) == ("a", ["b"], None)
    assert (method.name, bare_arguments(method), ast.get_docstring(method)) == ("e", [], None)
