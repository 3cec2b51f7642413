"""The module of a report in, its functions out; and a sentence for every way in which it is none. And what a slot may use."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from switchyard.errors import ConfigError
from switchyard.report import Report
from switchyard.reports import Parameters, own_share
from switchyard.reports.code import Code, code_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WHOLE = """
def partitions(parameters): return []
def aggregate(partition): return partition
def report(partials, parameters): ...
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Code]:
    """The code of a report `sales` whose module has this text."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(text: str) -> Code:
        monkeypatch.delitem(sys.modules, "a_report", raising=False)
        (tmp_path / "a_report.py").write_text(text)
        return code_of(Report(name="sales", module="a_report"))

    # Modules of one name and one second are told apart by their text, not by a cache.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield load
    sys.modules.pop("a_report", None)


def test_a_module_with_its_three_functions_is_a_report(code: Callable[[str], Code]) -> None:
    """Without parameters of its own, it takes none."""
    found = code(WHOLE)
    assert found.parameters is Parameters
    assert found.partitions(Parameters()) == []
    assert found.aggregate("a") == "a"


@pytest.mark.parametrize(
    "text",
    [
        # other names for what is given, more that may be given, or whatever is given
        "def aggregate(month): return month",
        "def aggregate(partition, again=False): return partition",
        "def aggregate(*anything): return anything[0]",
        "aggregate = lambda partition: partition",
        # what is called like a function
        "class Aggregate:\n    def __call__(self, partition): return partition\naggregate = Aggregate()",
        "import functools\naggregate = functools.partial(lambda n, partition: partition, 1)",
        # imported from elsewhere; compiled, without a word on how it is called
        "from copy import copy as aggregate",
        "aggregate = str",
    ],
)
def test_a_function_is_what_can_be_called_that_way(code: Callable[[str], Code], text: str) -> None:
    """The call counts, not the form."""
    assert code(WHOLE + text).aggregate("a") == "a"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # a function that is missing: the first of them
        ("", " has no function partitions(parameters); docs/reports.md shows one."),
        (WHOLE + "del aggregate", " has no function aggregate(partition); docs/reports.md shows one."),
        (WHOLE + "del report", " has no function report(partials, parameters); docs/reports.md shows one."),
        # one that is none
        (WHOLE + "aggregate = 3", " has no function aggregate(partition); docs/reports.md shows one."),
        # one that takes too few, too many, or others
        (WHOLE + "def aggregate(): ...", ": it is called as aggregate(partition), but too many positional arguments."),
        (WHOLE + "def aggregate(a, b): ...", ": it is called as aggregate(partition), but missing a required argument: 'b'."),
        (WHOLE + "def report(partials): ...", ": it is called as report(partials, parameters), but too many positional arguments."),
        (WHOLE + "def partitions(): ...", ": it is called as partitions(parameters), but too many positional arguments."),
        (WHOLE + "def aggregate(*, partition): ...", ": it is called as aggregate(partition), but too many positional arguments."),
        # parameters that the core could not check
        (WHOLE + "class Parameters: ...", ": its Parameters is no subclass of switchyard.reports.Parameters."),
        (WHOLE + "Parameters = {}", ": its Parameters is no subclass of switchyard.reports.Parameters."),
        (WHOLE + "from pydantic import BaseModel\nclass Parameters(BaseModel): ...", ": its Parameters is no subclass of switchyard.reports.Parameters."),
    ],
)  # fmt: skip
def test_a_module_that_is_no_report_is_refused_by_its_key(
    code: Callable[[str], Code], text: str, sentence: str
) -> None:
    """One sentence: the key, the module, and what it lacks."""
    with pytest.raises(ConfigError) as refused:
        code(text)
    assert str(refused.value) == f"reports.sales.module: 'a_report'{sentence}"


def test_a_module_may_have_parameters_of_its_own(code: Callable[[str], Code]) -> None:
    """A subclass of the core's."""
    text = WHOLE + "from switchyard import reports\nclass Parameters(reports.Parameters):\n    top: int = 3\n"
    assert code(text).parameters().model_dump() == {"top": 3}
    assert code(WHOLE + "from switchyard.reports import Parameters").parameters is Parameters


@pytest.mark.parametrize(
    ("text", "error"),
    [("import nothing_of_this_name", ModuleNotFoundError), ("def", SyntaxError), ("1 / 0", ZeroDivisionError)],
)
def test_what_importing_a_module_raises_is_not_hidden(
    code: Callable[[str], Code], text: str, error: type[Exception]
) -> None:
    """Its traceback shows where."""
    with pytest.raises(error):
        code(text)


# --- What a slot may use


@pytest.mark.parametrize(
    ("keys", "queue", "memory", "threads"),
    [
        # a slot has its part of the memory, and at least one thread
        ('memory = "1G"\nconcurrency = 2\ncpus = 1', "sales_aggregator_queue", 512, 1),
        ('memory = "1G"\nconcurrency = 4\ncpus = 8', "sales_aggregator_queue", 256, 2),
        ('memory = "1G"\nconcurrency = 4\ncpus = 7.9', "sales_aggregator_queue", 256, 1),
        # the one slot of the report queue has all of it
        ('memory = "1G"\nconcurrency = 4\ncpus = 8', "sales_report_queue", 1024, 8),
        ('memory = "1G"\nconcurrency = 4\ncpus = 0.5', "sales_report_queue", 1024, 1),
        # a queue that scales may use all its slots at once
        ('memory = "1G"\nautoscale = "8,1"\ncpus = 8', "sales_aggregator_queue", 128, 1),
    ],
)
def test_a_slot_has_its_share_of_its_queues_container(
    config_dir: Path, monkeypatch: pytest.MonkeyPatch, keys: str, queue: str, memory: int, threads: int
) -> None:
    """In a worker; memory in bytes, all slots together within the queue's."""
    (config_dir / "queues.toml").write_text(f'[reports.sales]\nmodule = "shop.sales"\n{keys}\n')
    monkeypatch.setenv("QUEUE", queue)
    share = own_share()
    assert (share.memory, share.threads) == (memory * 1024**2, threads)


def test_the_environments_slots_count(config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More slots are smaller ones."""
    (config_dir / "queues.toml").write_text('[reports.sales]\nmodule = "shop.sales"\nmemory = "1G"\n')
    monkeypatch.setenv("QUEUE", "sales_aggregator_queue")
    monkeypatch.setenv("QUEUES__SALES_AGGREGATOR_QUEUE__CONCURRENCY", "16")
    assert own_share().memory == 64 * 1024**2


def test_outside_a_worker_there_is_a_share_too(own_environment: Path) -> None:
    """A test or a notebook reads no queues: a gigabyte, and every processor."""
    share = own_share()
    assert (share.memory, share.threads) == (1024**3, os.cpu_count())
