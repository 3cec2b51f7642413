"""What is rendered from queues.toml: fresh in the repository, one program per queue, alike but for what must differ."""

from __future__ import annotations

import json
import re
import stat
from configparser import ConfigParser
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from switchyard import render
from switchyard.errors import ConfigError
from switchyard.queues import Queues, parse
from switchyard.render import compose, readme, supervisor
from switchyard.render.tasks import refusals
from switchyard.settings import ROOT, settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: What supervisord's one configuration is made of. A container's is whole by itself.
CONTAINER = ROOT / "config" / "supervisor" / "container.conf"
PARTS = sorted(path.stem for path in CONTAINER.parent.glob("*.conf") if path != CONTAINER)


def some(**tables: dict[str, Any]) -> Queues:
    return parse({"queues": tables}, {}, where="queues.toml")


def sections(text: str) -> ConfigParser:
    found = ConfigParser(interpolation=None, delimiters=("=",), inline_comment_prefixes=None)
    found.read_string(text)
    return found


def program(text: str, name: str) -> dict[str, str]:
    return dict(sections(text)[f"program:{name}"])


def test_what_is_rendered_in_the_repository_is_fresh() -> None:
    """Whoever edits queues.toml runs `make render` and commits both."""
    assert render.stale(ROOT / "config") == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The config folder of a checkout without queues of its own."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "queues.toml").write_text("")
    return tmp_path / "config"


def test_writing_makes_fresh_what_was_stale_and_touches_nothing_else(checkout: Path) -> None:
    """Missing files are stale; a second time writes nothing; another queue makes both stale."""
    file = checkout.parent / "README.md"
    file.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    written = [checkout / "supervisor" / "queues.conf", file]
    assert render.stale(checkout) == render.write(checkout) == written
    assert render.stale(checkout) == render.write(checkout) == []
    (checkout / "queues.toml").write_text('[queues.a]\ntasks = ["x"]\n')
    assert render.stale(checkout) == written
    render.write(checkout)
    written[0].write_text("edited")
    assert render.stale(checkout) == written[:1]


def test_compose_files_are_rendered_where_there_is_a_folder_for_them(checkout: Path) -> None:
    """Both of them; one that was edited is stale. A fork that does without containers deletes the folder."""
    folder = checkout.parent / "compose"
    folder.mkdir()
    containers = [folder / "queues.yml", folder / "dev.yml"]
    assert render.stale(checkout) == render.write(checkout) == [checkout / "supervisor" / "queues.conf", *containers]
    for file in containers:
        rendered = file.read_text()
        file.write_text(rendered.replace("default", "defautl"))
        assert render.stale(checkout) == [file]
        assert [render.name(path, checkout) for path in render.write(checkout)] == [f"compose/{file.name}"]
        assert file.read_text() == rendered


def test_what_only_this_machine_has_is_not_in_the_readme(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """queues.local.toml amends the programs of this machine; the environment's run-time keys are rendered nowhere."""
    file = checkout.parent / "README.md"
    file.write_text(f"{readme.BEGIN}\n{readme.END}\n")
    render.write(checkout)
    monkeypatch.setenv("QUEUES__DEFAULT__CONCURRENCY", "77")
    assert render.stale(checkout) == []
    (checkout / "queues.local.toml").write_text("[queues.default]\ndrain = 5\nconcurrency = 77\n")
    assert render.stale(checkout) == [checkout / "supervisor" / "queues.conf"]


def test_a_fork_without_a_readme_or_without_its_table_has_nothing_stale_there(checkout: Path) -> None:
    """The table is an offer."""
    render.write(checkout)
    assert not (checkout.parent / "README.md").exists()
    (checkout.parent / "README.md").write_text("of my own")
    assert render.stale(checkout) == []


# --- The README's table


def test_the_table_has_a_row_per_queue_and_the_text_around_it_stays() -> None:
    """In the file's order; whatever is in a glob is taken literally."""
    found = some(
        a={"tasks": ["x.?", r"y.[01]*"], "pool": "gevent", "autoscale": "32,16", "time_limit": 1.5, "memory": "2G"}
    )
    text = readme.with_table(f"before\n{readme.BEGIN}anything{readme.END}\nafter \\1\n", found)
    assert text.startswith(f"before\n{readme.BEGIN}\n| queue |")
    assert text.endswith(f"|\n{readme.END}\nafter \\1\n")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `default` | what nobody else takes | prefork | 2 | 300 s | 512 MB |",
        "| `a` | `x.?`, `y.[01]*` | gevent | 32 | 1.5 s | 2048 MB |",
    ]
    assert readme.with_table(text, found) == text


# --- Supervisor's programs


def test_each_queue_has_a_program_and_they_differ_only_in_what_they_must() -> None:
    """The queue's name, its log file, and how long its stop may take: all else a worker reads from queues.toml."""
    text = supervisor.programs(some(a={"drain": 5, "pool": "gevent"}, b={"drain": 600, "time_limit": 9}))
    assert sections(text).sections() == ["program:worker-default", "program:worker-a", "program:worker-b"]
    a, b = program(text, "worker-a"), program(text, "worker-b")
    assert {key for key in a if a[key] != b[key]} == {"environment", "stdout_logfile", "stopwaitsecs"}
    assert a.keys() == b.keys()
    assert (a["environment"], b["environment"]) == ('QUEUE="a"', 'QUEUE="b"')


def test_the_stop_signal_goes_to_the_main_process_and_the_kill_to_the_group() -> None:
    """SIGTERM to the group would kill prefork children in mid-task; after the wait nothing may be left."""
    text = supervisor.programs(some(a={"drain": 600}, b={"pool": "gevent", "time_limit": 60}))
    for name, wait in (("worker-default", 75), ("worker-a", 615), ("worker-b", 75)):
        found = program(text, name)
        assert (found["stopsignal"], found["stopasgroup"], found["killasgroup"]) == ("TERM", "false", "true")
        assert int(found["stopwaitsecs"]) == wait


@pytest.mark.parametrize(
    "name", ["redis", "producer", "consumer", "clock", "flower", "supplier", "seed", "worker", "supervisord"]
)
def test_a_queue_named_like_another_program_collides_with_none(name: str) -> None:
    """Its program, log and readiness file are a worker's."""
    text = supervisor.programs(some(**{name: {}}))
    assert f"program:worker-{name}" in sections(text)
    everything = text + "\n".join((ROOT / "config" / "supervisor" / f"{part}.conf").read_text() for part in PARTS
                                  if part != "queues")  # fmt: skip
    programs = re.findall(r"^\[program:(.+)\]$", everything, flags=re.MULTILINE)
    logs = re.findall(r"^stdout_logfile=(.+)$", everything, flags=re.MULTILINE)
    assert len(programs) == len(set(programs)) == len(logs) == len(set(logs))


def test_no_other_program_is_named_like_a_worker() -> None:
    """`make restart Q=…` and `make ps` tell the two apart by it."""
    others = [p for p in PARTS if p != "queues"]
    text = "\n".join((ROOT / "config" / "supervisor" / f"{part}.conf").read_text() for part in others)
    assert [name for name in re.findall(r"\[program:(.+)\]", text) if name.startswith("worker-")] == []


READ_BY_SUPERVISORD = """
import json, sys
from supervisor.options import ServerOptions
options = ServerOptions()
options.realize(["-c", CONF, "-n"])
print(json.dumps({p.name: [p.command, p.environment, p.stopasgroup, p.killasgroup, p.stopwaitsecs, p.stdout_logfile, p.directory]
                  for group in options.process_group_configs for p in group.process_configs}))
"""


@pytest.mark.parametrize("folder", ["plain", "with a space", "ünï;code"])
def test_supervisord_itself_reads_what_is_written(
    config_dir: Path, tmp_path: Path, python: Callable[..., str], monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """All parts together, in whatever folder the state is kept; by its own parser, which ignores what it does not know."""
    from switchyard.runtime.supervisor import Supervisor

    state = tmp_path / folder
    (state / "run").mkdir(parents=True)
    (state / "logs").mkdir()
    monkeypatch.setenv("STATE_DIR", str(state))
    settings.cache_clear()
    (config_dir / "supervisor").mkdir()
    for part in PARTS:
        (config_dir / "supervisor" / f"{part}.conf").write_text(
            (ROOT / "config" / "supervisor" / f"{part}.conf").read_text()
        )
    (config_dir / "supervisor" / "queues.conf").write_text(supervisor.programs(some(a={"drain": 600})))
    written = Supervisor(settings())
    written.write_conf(PARTS, lambda name: {"ODD": f'of {name}, "100 %" x'})

    found = json.loads(
        python(f"CONF = {str(written.conf)!r}" + READ_BY_SUPERVISORD, PYTHON="/a python", STATE_DIR=str(state))
    )
    assert {"worker-default", "worker-a", "redis", "producer", "consumer", "clock", "flower"} <= found.keys()
    command, environment, stopasgroup, killasgroup, wait, log, _ = found["worker-a"]
    assert command == '"/a python" -m switchyard worker'
    assert environment == {"QUEUE": "a", "ODD": 'of worker-a, "100 %" x'}
    assert stat.S_IMODE(written.conf.stat().st_mode) == 0o600
    assert (stopasgroup, killasgroup, wait) == (False, True, 615)
    assert log == str(state / "logs" / "worker-a.log")


def test_a_containers_supervisord_stops_its_worker_as_every_other_does(
    python: Callable[..., str], tmp_path: Path
) -> None:
    """One program; the signal to the main process, the kill to the group, after as long as the queue's container says."""
    conf = tmp_path / "container.conf"
    # The folder of a container, of which this machine has none.
    conf.write_text(CONTAINER.read_text().replace("/var/lib/switchyard/run", str(tmp_path)))
    found = json.loads(python(f"CONF = {str(conf)!r}" + READ_BY_SUPERVISORD, STOP_WAIT="145", QUEUE="a"))
    ((command, _, stopasgroup, killasgroup, wait, log, _),) = found.values()
    assert command == "python -m switchyard worker"
    assert (stopasgroup, killasgroup, wait) == (False, True, 145)
    assert log == "/dev/fd/1"


# --- Compose's services


def services(text: str) -> dict[str, dict[str, Any]]:
    """As Compose reads them, before it fills in and extends."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


@pytest.mark.parametrize(
    ("table", "stop_wait", "grace", "memory", "cpus"),
    [
        # the defaults: drain and a margin; the queue's memory and a container's own
        ({}, "75", "85s", "576m", 1),
        # every pool hands back at the end of drain, however long a task may take
        ({"drain": 600, "time_limit": 9000}, "615", "625s", "576m", 1),
        ({"drain": 0.5}, "16", "26s", "576m", 1),
        ({"pool": "gevent", "time_limit": 9000}, "75", "85s", "576m", 1),
        ({"pool": "threads", "drain": 900, "time_limit": 60}, "915", "925s", "576m", 1),
        # limits, in whole megabytes and parts of a processor
        ({"memory": "2G", "cpus": 2.5}, "75", "85s", "2112m", 2.5),
        ({"memory": "1500K", "cpus": 0.25}, "75", "85s", "65m", 0.25),
        ({"cpus": 12.0}, "75", "85s", "576m", 12),
    ],
)
def test_a_queues_container_has_the_limits_and_the_patience_that_follow(
    table: dict[str, Any], stop_wait: str, grace: str, memory: str, cpus: float
) -> None:
    """All else comes from the service that each extends."""
    assert services(compose.queues(some(a=table)))["worker-a"] == {
        "extends": {"file": "worker.yml", "service": "worker"},
        "environment": {"QUEUE": "a", "STOP_WAIT": stop_wait},
        "env_file": [{"path": "${STATE_DIR:-../.switchyard}/containers/worker-a.env", "required": False}],
        "stop_grace_period": grace,
        "mem_limit": memory,
        "cpus": cpus,
    }


def test_every_queue_has_a_container_and_is_developed_in_one() -> None:
    """In the file's order, with the doors before them in the overlay; a reload waits for tasks as long as a stop does."""
    found = some(a={"drain": 5}, b={"pool": "gevent"})
    workers = ["worker-default", "worker-a", "worker-b"]
    assert [*services(compose.queues(found))] == workers
    overlay = services(compose.dev(found))
    assert [*overlay] == ["producer", "consumer", "clock", "tools", *workers]
    for name in workers:
        stop_wait = services(compose.queues(found))[name]["environment"]["STOP_WAIT"]
        assert overlay[name]["command"][1:4] == ["--sigint-timeout", stop_wait, "python -m switchyard worker"]
    assert [name for name, service in overlay.items() if "image" in service] == []  # the one that producer builds
    assert [name for name, service in overlay.items() if "build" in service] == ["producer"]
    assert {volume for service in overlay.values() for volume in service["volumes"]} == {"./services:/app/services:ro"}


@pytest.mark.parametrize("name", ["no", "true", "null", "redis", "worker"])
def test_a_queue_whose_name_means_something_in_yaml_or_in_our_files_is_a_queue(name: str) -> None:
    """Text stays text."""
    found = services(compose.queues(some(**{name: {}})))[f"worker-{name}"]
    assert found["environment"]["QUEUE"] == name


# --- queues.toml against the tasks that exist


@pytest.fixture
def stall(tmp_path: Path, config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's project: two tasks in one module."""
    (tmp_path / "stall").mkdir()
    (tmp_path / "stall" / "__init__.py").write_text("")
    (tmp_path / "stall" / "celery.py").write_text(
        'from celery import Celery\napp = Celery("stall")\nprint("noise")\n'
        'app.config_from_object("switchyard.celeryconfig")\n'
    )
    (tmp_path / "stall" / "tasks.py").write_text(
        'from celery import shared_task\n@shared_task(name="stall.a")\ndef a(): ...\n@shared_task(name="stall.b")\ndef b(): ...\n'
    )
    (config_dir / "queues.toml").write_text("")
    monkeypatch.setenv("CELERY_APP", "stall.celery:app")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_globs_are_compared_with_the_tasks_that_really_exist(stall: Path) -> None:
    """Imported by the app and by the queues' `imports`; a project that prints at import is understood."""
    good = some(a={"tasks": ["stall.a"], "imports": ["stall.tasks"]}, b={"tasks": ["stall.b"]})
    assert refusals(settings(), good, {}) == []
    bad = some(a={"tasks": ["stall.a", "stall.c"], "imports": ["stall.tasks"]})
    assert refusals(settings(), bad, {}) == [
        "queues.a.tasks: 'stall.c' matches no task. Did you mean 'stall.b'?",
        "Task 'stall.b' is taken by no queue; add it to a queue's tasks, or set queues.default.tasks = [\"*\"].",
    ]


def test_a_workflow_of_events_toml_is_a_task_of_the_app(stall: Path) -> None:
    """Told by its key, after what is wrong with queues.toml."""
    queues = some(default={"tasks": ["*"], "imports": ["stall.tasks"]})
    assert refusals(settings(), queues, {"events.toml: x.workflow": "stall.a"}) == []
    said = refusals(settings(), queues, {"x.workflow": "stall.a", "y.workflow": "stall.c", "z.workflow": "zzz"})
    assert said[0] == "y.workflow: the app has no task 'stall.c'. Did you mean 'stall.b'?"
    assert said[1:] == ["z.workflow: the app has no task 'zzz'. Expected one of: stall.a, stall.b."]
    said = refusals(settings(), some(a={"tasks": ["stall.a", "stall.b"]}), {"x.workflow": "zzz"})
    assert [line.split(":")[0] for line in said] == ["queues.a.tasks", "queues.a.tasks", "x.workflow"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
        # a module that ends the process would end a worker, too
        pytest.param("import sys; sys.exit('no licence')", "SystemExit: no licence", id="exit"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_traceback(stall: Path, code: str, error: str) -> None:
    """By the key that asks for it; what would follow from it is not told as well."""
    (stall / "stall" / "broken.py").write_text(code + "\n")
    (said,) = refusals(settings(), some(a={"tasks": ["stall.a"], "imports": ["stall.broken", "stall.tasks"]}), {})
    assert said.startswith("queues.a.imports: 'stall.broken' cannot be imported:\nTraceback")
    assert error in said


WHOLE = """
def partitions(parameters): return []
def aggregate(partition): ...
def report(partials, parameters): ...
"""


def with_reports(**modules: str) -> Queues:
    tables = {name: {"module": module} for name, module in modules.items()}
    return parse({"queues": {"default": {"tasks": ["*"]}}, "reports": tables}, {}, where="queues.toml")


@pytest.fixture
def reports(stall: Path) -> Callable[..., list[str]]:
    """What is refused of reports whose modules have these texts."""

    def ask(**texts: str) -> list[str]:
        for name, text in texts.items():
            (stall / "stall" / f"{name}.py").write_text(text)
        lines = [f'[reports.{name}]\nmodule = "stall.{name}"\n' for name in texts]
        (stall / "config" / "queues.toml").write_text('[queues.default]\ntasks = ["*"]\n' + "".join(lines))
        return refusals(settings(), with_reports(**{name: f"stall.{name}" for name in texts}), {})

    return ask


def test_the_tasks_of_every_report_exist(reports: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked from anywhere: also from a process that is the worker of one queue."""
    assert reports(sales=WHOLE, coupons=WHOLE) == []
    monkeypatch.setenv("QUEUE", "sales_report_queue")
    assert reports(sales=WHOLE, coupons=WHOLE) == []


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        # a module that cannot be imported, with its traceback
        ("import nothing_of_this_name", "reports.sales.module: 'stall.sales' cannot be imported:",
         "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("1 / 0", "reports.sales.module: 'stall.sales' cannot be imported:", "ZeroDivisionError: division by zero"),
        # one that is no report: one sentence, and no traceback of ours
        (WHOLE + "del aggregate", *["reports.sales.module: 'stall.sales' has no function aggregate(partition); docs/reports.md shows one."] * 2),
        (WHOLE + "def report(): ...", *["reports.sales.module: 'stall.sales': it is called as report(partials, parameters), but too many positional arguments."] * 2),
    ],
)  # fmt: skip
def test_a_broken_report_is_told_once_by_its_key(
    reports: Callable[..., list[str]], text: str, first: str, last: str
) -> None:
    """Its two queues and its four tasks do not follow from it as well; whole reports beside it are not blamed."""
    (said,) = reports(coupons=WHOLE, sales=text, tax=WHOLE)
    lines = said.strip().splitlines()
    assert (lines[0], lines[-1]) == (first, last)


def test_every_report_that_cannot_be_imported_is_told(reports: Callable[..., list[str]]) -> None:
    """In one go, each by its key."""
    said = reports(sales="1 / 0", coupons=WHOLE, tax="import nothing_of_this_name")
    assert [line.split(" ")[0] for line in said] == ["reports.sales.module:", "reports.tax.module:"]


def test_a_missing_report_module_is_told_by_its_key(stall: Path) -> None:
    """Misspelt, or not written yet."""
    (said,) = refusals(settings(), with_reports(sales="stall.seles"), {})
    assert said.startswith("reports.sales.module: 'stall.seles' cannot be imported:\nTraceback")
    assert said.strip().endswith("No module named 'stall.seles'")


def test_an_app_that_cannot_be_imported_is_named(stall: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CELERY_APP with the reason below it; and without CELERY_APP, what to set."""
    monkeypatch.setenv("CELERY_APP", "stall.celary:app")
    settings.cache_clear()
    with pytest.raises(ConfigError, match=r"CELERY_APP: 'stall.celary:app' cannot be imported:\n(.|\n)*celary"):
        refusals(settings(), some(), {})
    monkeypatch.delenv("CELERY_APP")
    settings.cache_clear()
    with pytest.raises(ConfigError, match="CELERY_APP is not set"):
        refusals(settings(), some(), {})
