"""`[reports.<name>]` in queues.toml in; two queues and their tasks out; and every way in which it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from switchyard import queues
from switchyard.errors import ConfigError
from switchyard.queues import Queues, parse
from switchyard.report import DERIVED_KEYS, QUEUE_KEYS, REPORT_KEYS, Report
from switchyard.settings import ROOT, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODULE = "shop.reports.sales"


def parsed(overrides: Mapping[str, Mapping[str, str]] | None = None, **source: Any) -> Queues:
    return parse(source, overrides or {}, where="queues.toml")


def sales(**keys: Any) -> dict[str, Any]:
    """The table of reports with `sales` alone."""
    return {"sales": {"module": MODULE, **keys}}


def refusal(overrides: Mapping[str, Mapping[str, str]] | None = None, **source: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        parsed(overrides, **source)
    return str(refused.value)


# --- What follows from a report's table


def test_a_report_derives_two_queues_their_routes_and_their_imports() -> None:
    """One key is enough: the name decides all names, and both workers import its module and the core's tasks."""
    found = parsed(reports=sales())
    assert list(found.by_name) == ["default", "sales_aggregator_queue", "sales_report_queue"]
    assert found["sales_aggregator_queue"].tasks == ("reports.sales.aggregate",)
    assert found["sales_report_queue"].tasks == ("reports.sales", "reports.sales.report", "reports.sales.prune")
    for name in found.report("sales").queues:
        assert found[name].imports == (MODULE, "switchyard.reports.tasks")
    assert found.routes() == {
        "reports.sales.aggregate": {"queue": "sales_aggregator_queue"},
        "reports.sales": {"queue": "sales_report_queue"},
        "reports.sales.report": {"queue": "sales_report_queue"},
        "reports.sales.prune": {"queue": "sales_report_queue"},
    }


def test_the_tasks_of_a_report_are_the_ones_its_queues_take() -> None:
    """Neither a glob without a task nor a task without a queue, for two reports of which one's name begins the other's."""
    found = parsed(
        reports={"sales": {"module": "a"}, "sales_tax": {"module": "b"}}, queues={"default": {"tasks": ["*"]}}
    )
    tasks = [task for report in found.reports.values()
             for task in (report.start_task, report.aggregate_task, report.report_task, report.prune_task)]  # fmt: skip
    assert found.refusals(tasks) == []
    assert {task: found.queue_of(task) for task in tasks if ".aggregate" in task} == {
        "reports.sales.aggregate": "sales_aggregator_queue",
        "reports.sales_tax.aggregate": "sales_tax_aggregator_queue",
    }


def test_a_report_has_defaults_for_all_but_its_module() -> None:
    """And what is said counts."""
    assert parsed(reports=sales()).report("sales") == Report(
        name="sales", module=MODULE, schedule=None, retries=1, keep=100, keep_days=90
    )
    chosen = {"schedule": "0 2 * * *", "retries": 0, "keep": 1, "keep_days": 1}
    assert parsed(reports=sales(**chosen)).report("sales") == Report(name="sales", module=MODULE, **chosen)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        # each key of a queue that both take as it is
        ("pool", "threads", "threads"),
        ("time_limit", 60, 60.0),
        ("drain", 5, 5.0),
        ("memory", "1G", 1024**3),
        ("cpus", 2, 2.0),
        ("prefetch", 3, 3),
        ("max_waiting", 7, 7),
        ("log_level", "DEBUG", "DEBUG"),
        ("events", True, True),
    ],
)
def test_a_queues_key_in_a_reports_table_holds_for_both_its_queues(key: str, value: Any, expected: Any) -> None:
    """It beats the default, which holds where the report says nothing; no other queue has it."""
    found = parsed(defaults={"drain": 9, "concurrency": 3}, reports=sales(**{key: value}))
    assert [getattr(found[name], key) for name in found.report("sales").queues] == [expected] * 2
    assert getattr(found["default"], key) != expected
    assert found["sales_aggregator_queue"].drain == (5 if key == "drain" else 9)


@pytest.mark.parametrize(
    ("source", "aggregator", "report"),
    [
        # where nobody says
        ({"reports": sales()}, 2, 1),
        # where the report says
        ({"reports": sales(concurrency=8)}, 8, 1),
        ({"reports": sales(autoscale="8,2")}, 8, 1),
        # where the defaults say
        ({"reports": sales(), "defaults": {"concurrency": 8}}, 8, 1),
        ({"reports": sales(), "defaults": {"autoscale": "8,2"}}, 8, 1),
        # a report's slots beat what the defaults scale
        ({"reports": sales(concurrency=3), "defaults": {"autoscale": "8,2"}}, 3, 1),
        # only the report queue's own table gives it more
        ({"reports": sales(concurrency=8), "queues": {"sales_report_queue": {"concurrency": 4}}}, 8, 4),
        ({"reports": sales(), "queues": {"sales_report_queue": {"autoscale": "4,1"}}}, 2, 4),
    ],
)  # fmt: skip
def test_one_artefact_is_made_at_a_time(source: dict[str, Any], aggregator: int, report: int) -> None:
    """However many partitions are aggregated at once."""
    found = parsed(**source)
    assert (found["sales_aggregator_queue"].slots, found["sales_report_queue"].slots) == (aggregator, report)


def test_a_derived_queue_is_amended_by_a_table_of_its_own() -> None:
    """Defaults, then the report, then the queue, then the environment: the last word counts, for this queue only."""
    found = parsed(
        {"sales_aggregator_queue": {"concurrency": "7"}},
        defaults={"time_limit": 10, "drain": 10, "cpus": 3},
        reports=sales(time_limit=20, drain=20),
        queues={"sales_aggregator_queue": {"time_limit": 30, "concurrency": 5}},
    )
    aggregator, report = (found[name] for name in found.report("sales").queues)
    assert (aggregator.time_limit, aggregator.drain, aggregator.cpus, aggregator.concurrency) == (30, 20, 3, 7)
    assert (report.time_limit, report.drain, report.cpus, report.concurrency) == (20, 20, 3, 1)
    assert aggregator.tasks == ("reports.sales.aggregate",)


@pytest.mark.parametrize("key", DERIVED_KEYS)
@pytest.mark.parametrize("queue", ["sales_aggregator_queue", "sales_report_queue"])
def test_what_the_report_decides_cannot_be_said_by_its_queues(queue: str, key: str) -> None:
    """Its name, tasks and imports; the key to remove is named."""
    value: Any = "x" if key == "name" else ["x"]
    said = refusal(reports=sales(), queues={queue: {key: value}})
    assert said == f"queues.toml: queues.{queue}.{key}: its report decides it; remove the key."


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("concurrency", "4", 4), ("log_level", "DEBUG", "DEBUG"), ("events", "1", True), ("prefetch", "2", 2)],
)
def test_the_environment_reaches_a_derived_queue(
    own_environment: Path, config_dir: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str, expected: Any
) -> None:
    """QUEUES__SALES_REPORT_QUEUE__<KEY>, for each run-time key, as for any queue."""
    monkeypatch.setenv(f"QUEUES__SALES_REPORT_QUEUE__{key.upper()}", value)
    (config_dir / "queues.toml").write_text(f'[reports.sales]\nmodule = "{MODULE}"\n')
    found = queues.load(config_dir, Settings.load().queues)
    assert getattr(found["sales_report_queue"], key) == expected
    assert getattr(found["sales_aggregator_queue"], key) != expected


def test_a_report_and_the_report_of_a_queue_are_found() -> None:
    """By name, with a suggestion for a wrong one; a queue of its own belongs to none."""
    found = parsed(reports=sales(), queues={"a": {}})
    for name in ("sales_aggregator_queue", "sales_report_queue"):
        assert found.report_of(name) is found.report("sales")
    assert found.report_of("a") is found.report_of("default") is None
    with pytest.raises(ConfigError, match=r"There is no report 'sale'. Did you mean 'sales'\?"):
        found.report("sale")
    with pytest.raises(ConfigError, match="There is no report 'zzz'. Expected one of: none."):
        parsed().report("zzz")


def test_a_file_without_reports_is_as_it_was() -> None:
    """No queue, route or report is there that nobody wrote."""
    tables = {"a": {"tasks": ["a.*"]}, "x_report_queue": {"concurrency": 3}}
    for found in (parsed(queues=tables), parsed(queues=tables, reports={})):
        assert list(found.by_name) == ["default", "a", "x_report_queue"]
        assert found["x_report_queue"].concurrency == 3
        assert found.routes() == {"a.*": {"queue": "a"}}
        assert dict(found.reports) == {}


# --- The local file


def test_the_local_file_amends_a_reports_table(tmp_path: Path) -> None:
    """Key by key; the rest stays as it was, and it may add a report."""
    (tmp_path / "queues.toml").write_text(
        '[reports.sales]\nmodule = "a"\nkeep = 5\nmemory = "1G"\n[reports.coupons]\nmodule = "b"\n'
    )
    (tmp_path / "queues.local.toml").write_text(
        '[reports.sales]\nkeep = 7\nconcurrency = 1\n[reports.promotions]\nmodule = "c"\n'
    )
    found = queues.load(tmp_path, {})
    assert list(found.reports) == ["sales", "coupons", "promotions"]
    assert (found.report("sales").module, found.report("sales").keep) == ("a", 7)
    assert (found["sales_aggregator_queue"].concurrency, found["sales_aggregator_queue"].memory) == (1, 1024**3)
    assert found["coupons_aggregator_queue"].concurrency == 2
    assert list(queues.load(tmp_path, {}, amended=False).reports) == ["sales", "coupons"]


# --- Refusals


KEYS = ", ".join(sorted((*REPORT_KEYS, *QUEUE_KEYS)))


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        # no module, or none that Python could import
        ({}, "reports.sales.module: field required."),
        ({"module": ""}, "reports.sales.module: expected a Python module, such as proj.tasks.reports.sales, got ''."),
        ({"module": "a/b.py"}, "reports.sales.module: expected a Python module, such as proj.tasks.reports.sales, got 'a/b.py'."),
        ({"module": "a:b"}, "reports.sales.module: expected a Python module, such as proj.tasks.reports.sales, got 'a:b'."),
        ({"module": "a..b"}, "reports.sales.module: expected a Python module, such as proj.tasks.reports.sales, got 'a..b'."),
        ({"module": ".a"}, "reports.sales.module: expected a Python module, such as proj.tasks.reports.sales, got '.a'."),
        ({"module": "a.1b"}, "reports.sales.module: expected a Python module, such as proj.tasks.reports.sales, got 'a.1b'."),
        ({"module": "a\n"}, r"reports.sales.module: expected a Python module, such as proj.tasks.reports.sales, got 'a\n'."),
        ({"module": 3}, "reports.sales.module: input should be a valid string, got 3."),
        # a key that neither a report nor its queues have, close to one or to none
        ({"module": "a", "shedule": "0 2 * * *"}, "reports.sales.shedule: unknown key. Did you mean 'schedule'?"),
        ({"module": "a", "concurency": 2}, "reports.sales.concurency: unknown key. Did you mean 'concurrency'?"),
        ({"module": "a", "zzz": 2}, f"reports.sales.zzz: unknown key. Expected one of: {KEYS}."),
        # what it decides itself
        ({"module": "a", "tasks": ["x"]}, f"reports.sales.tasks: unknown key. Expected one of: {KEYS}."),
        ({"module": "a", "name": "b"}, f"reports.sales.name: unknown key. Expected one of: {KEYS}."),
        # numbers and their bounds
        ({"module": "a", "retries": -1}, "reports.sales.retries: input should be greater than or equal to 0, got -1."),
        ({"module": "a", "retries": 11}, "reports.sales.retries: input should be less than or equal to 10, got 11."),
        ({"module": "a", "keep": 0}, "reports.sales.keep: input should be greater than or equal to 1, got 0."),
        ({"module": "a", "keep_days": 0}, "reports.sales.keep_days: input should be greater than or equal to 1, got 0."),
        ({"module": "a", "keep": "many"}, "reports.sales.keep: input should be a valid integer, unable to parse string as an integer, got 'many'."),
        ({"module": "a", "schedule": 3}, "reports.sales.schedule: input should be a valid string, got 3."),
        # a bad key of both queues is told once, where it stands
        ({"module": "a", "memory": "512"}, "reports.sales.memory: expected a number and a unit, such as 512M or 2G, got '512'."),
        ({"module": "a", "time_limit": 0}, "reports.sales.time_limit: input should be greater than 0, got 0."),
        ({"module": "a", "concurrency": 0}, "reports.sales.concurrency: input should be greater than or equal to 1, got 0."),
        ({"module": "a", "autoscale": "1,2"}, """reports.sales.autoscale: expected "most,least" slots, such as "32,16", got '1,2'."""),
        ({"module": "a", "pool": "fork"}, "reports.sales.pool: input should be 'gevent', 'prefork', 'threads', 'solo' or 'eventlet', got 'fork'."),
    ],
)  # fmt: skip
def test_a_bad_key_of_a_report_is_refused_where_it_stands(table: dict[str, Any], sentence: str) -> None:
    """One sentence, with the report and the key in it; no queue is blamed that nobody wrote."""
    assert refusal(reports={"sales": table}) == f"queues.toml: {sentence}"


@pytest.mark.parametrize("value", [3, "shop.sales", ["a"], True])
def test_a_report_that_is_no_table_is_refused(value: Any) -> None:
    """Also where all reports should be."""
    assert refusal(reports={"sales": value}) == f"queues.toml: reports.sales: expected a table of keys, got {value!r}."
    assert refusal(reports=value) == f"queues.toml: reports: expected a table, got {value!r}."


@pytest.mark.parametrize(
    "name",
    [
        "Sales",  # upper case: the environment's names have none
        "1st",  # starts with a digit
        "_sales",  # or with what separates
        "sales_",  # ends with it: its queues' names would have two
        "sales__tax",  # two end a name in QUEUES__SALES__TAX
        "sales-tax",  # no sign that a variable cannot have
        "sales.tax",
        "../sales",  # or a file
        "verkäufe",  # letters are a to z
        "sales\n",  # the whole name counts, its end too
        "",  # no name at all
    ],
)
def test_a_bad_report_name_is_refused(name: str) -> None:
    """Queues, variables, tasks and files are made of it; what follows from it is not told as well."""
    expected = f"queues.toml: reports.{name}: bad name; expected a-z, 0-9 and single _, starting with a letter."
    assert refusal(reports={name: {"module": "a"}}) == expected


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        # one of the defaults is theirs, not the report's
        ({"defaults": {"memory": "512"}, "reports": sales()}, "defaults.memory: expected a number and a unit, such as 512M or 2G, got '512'."),
        ({"defaults": {"zzz": 1}, "reports": sales(memory="1G")}, "defaults.zzz: unknown key. Expected one of: "),
        # a report's is not the defaults'
        ({"defaults": {"memory": "1G"}, "reports": sales(memory="512")}, "reports.sales.memory: expected a number and a unit"),
        # one of a queue's own table is neither's
        ({"reports": sales(memory="1G"), "queues": {"sales_report_queue": {"memory": "512"}}}, "queues.sales_report_queue.memory: expected a number"),
        ({"reports": sales(), "queues": {"sales_report_queue": {"zzz": 1}}}, "queues.sales_report_queue.zzz: unknown key."),
        ({"reports": sales(), "queues": {"sales_report_queue": 3}}, "queues.sales_report_queue: expected a table of keys, got 3."),
        # two layers that do not suit each other: the one that says the refused key
        ({"defaults": {"pool": "threads"}, "reports": sales(autoscale="2,1")}, "reports.sales.autoscale: the threads pool cannot scale"),
        ({"defaults": {"autoscale": "2,1"}, "queues": {"default": {"concurrency": 2}}, "reports": sales(pool="threads")}, "defaults.autoscale: the threads pool cannot scale"),
    ],
)  # fmt: skip
def test_a_refused_value_is_named_where_it_was_given(source: dict[str, Any], sentence: str) -> None:
    """Once, however many queues it comes to."""
    (said,) = refusal(**source).splitlines()
    assert said.startswith(f"queues.toml: {sentence}")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        # shape
        ({"sales_report_queue": {"memory": "2G"}}, "QUEUES__SALES_REPORT_QUEUE__MEMORY: 'memory' is shape; it comes from"),
        # a value that is none
        ({"sales_report_queue": {"concurrency": "x"}}, "QUEUES__SALES_REPORT_QUEUE__CONCURRENCY: input should be a valid integer"),
        # the report's name is no queue's
        ({"sales_queue": {"concurrency": "1"}}, "QUEUES__SALES_QUEUE__CONCURRENCY: there is no queue 'sales_queue'. Did you mean 'sales_report_queue'?"),
    ],
)  # fmt: skip
def test_a_bad_override_of_a_derived_queue_is_refused_by_its_variable(
    overrides: dict[str, dict[str, str]], sentence: str
) -> None:
    """As of any other queue."""
    (said,) = refusal(overrides, reports=sales()).splitlines()
    assert said.startswith(sentence)


def test_the_local_file_is_named_with_what_it_spoils(tmp_path: Path) -> None:
    """Both files are one; a report of the local one is refused as any other."""
    (tmp_path / "queues.toml").write_text('[reports.sales]\nmodule = "a"\n')
    (tmp_path / "queues.local.toml").write_text("[reports.sales]\nkeep = 0\n[reports.tax]\n")
    with pytest.raises(ConfigError) as refused:
        queues.load(tmp_path, {})
    assert str(refused.value).splitlines() == [
        "queues.toml with queues.local.toml: reports.sales.keep: input should be greater than or equal to 1, got 0.",
        "queues.toml with queues.local.toml: reports.tax.module: field required.",
    ]


def test_every_key_of_a_report_says_what_it_is_and_is_no_queues_key() -> None:
    """The docs' table is made of these; one key must not mean two things."""
    assert [name for name in REPORT_KEYS if not Report.model_fields[name].description] == []
    assert not {*REPORT_KEYS} & {*QUEUE_KEYS, *DERIVED_KEYS}


def test_the_repositorys_own_queues_file_loads() -> None:
    """What is shipped starts; each of its reports has its two queues."""
    found = queues.load(ROOT / "config", {}, amended=False)
    for report in found.reports.values():
        assert {*report.queues} <= {*found.by_name}
