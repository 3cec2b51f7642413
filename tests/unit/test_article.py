"""The article that it began with, said in this project's words: its six routes, its defaults, its worker command."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from switchyard import queues
from switchyard.settings import settings
from switchyard.worker import launch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIX_ROUTES = """
[queues.report_type1_aggregator_queue]
tasks = ["foo.tasks.report_type1_aggregator"]
[queues.report_type2_aggregator_queue]
tasks = ["foo.tasks.report_type2_aggregator"]
[queues.report_type3_aggregator_queue]
tasks = ["foo.tasks.report_type3_aggregator"]
[queues.report_type1_report_queue]
tasks = ["foo.tasks.report_type1_report_queue"]
[queues.report_type2_report_queue]
tasks = ["foo.tasks.report_type2_report_queue"]
[queues.report_type3_report_queue]
tasks = ["foo.tasks.report_type3_report_queue"]
"""

# The article's own, letter by letter.
CELERY_TASK_ROUTES = {
  "foo.tasks.report_type1_aggregator": {
      "queue": "report_type1_aggregator_queue"
  },
  "foo.tasks.report_type2_aggregator": {
      "queue": "report_type2_aggregator_queue"
  },
  "foo.tasks.report_type3_aggregator": {
      "queue": "report_type3_aggregator_queue"
  },
  "foo.tasks.report_type1_report_queue": {
      "queue": "report_type1_report_queue"
  },
  "foo.tasks.report_type2_report_queue": {
      "queue": "report_type2_report_queue"
  },
  "foo.tasks.report_type3_report_queue": {
      "queue": "report_type3_report_queue"
  }
}  # fmt: skip

ASK_CELERY = """
import json
import logging
from celery import Celery
app = Celery("proj_name")
app.config_from_object("switchyard.celeryconfig")
KEYS = ("accept_content", "task_serializer", "result_serializer", "task_default_queue", "task_default_exchange",
        "task_default_exchange_type", "task_default_routing_key")
def routed(task):
    return app.amqp.router.route({}, task)["queue"].name
default = app.amqp.queues["default"]
print(json.dumps({"conf": {key: app.conf[key] for key in KEYS}, "routed": {task: routed(task) for task in TASKS},
                  "declared": sorted(app.amqp.queues),
                  "default": [default.exchange.name, default.exchange.type, default.routing_key]}))
"""


@pytest.fixture
def six_routes(config_dir: Path) -> Path:
    (config_dir / "queues.toml").write_text(SIX_ROUTES)
    return config_dir


def test_a_queues_file_with_the_six_routes_yields_exactly_celery_task_routes(six_routes: Path) -> None:
    """Nothing more and nothing less than the article's literal value."""
    assert queues.load(six_routes, {}).routes() == CELERY_TASK_ROUTES


def test_a_celery_app_has_the_articles_defaults_and_routes_its_tasks(
    six_routes: Path, python: Callable[..., str]
) -> None:
    """A real app that takes `switchyard.celeryconfig` sends each of the six to its queue and anything else to default."""
    others = ["foo.tasks.report_type4_aggregator", "anything"]
    told = json.loads(python(f"TASKS = {[*CELERY_TASK_ROUTES, *others]!r}" + ASK_CELERY))
    assert told["conf"] == {
        "accept_content": ["application/json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_default_queue": "default",
        "task_default_exchange": "default",
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "task.default",
    }
    expected = {task: route["queue"] for task, route in CELERY_TASK_ROUTES.items()}
    assert told["routed"] == {**expected, **dict.fromkeys(others, "default")}
    assert told["default"] == ["default", "topic", "task.default"]
    assert told["declared"] == sorted(["default", *(route["queue"] for route in CELERY_TASK_ROUTES.values())])


# --- celery worker -A proj_name -O fair -Q {queue_name} -P gevent --autoscale=32,16 --loglevel=INFO

ASK_COMMAND_LINE = """
import json, sys
from celery import maybe_patch_concurrency
maybe_patch_concurrency(ARGV)  # as Celery's own entry point does before anything else is imported
from celery.bin import worker
from celery.bin.celery import celery
def show(**options):
    pool = options["pool"]
    options["pool"] = pool if isinstance(pool, str) else f"{pool.__module__}.{pool.__qualname__}"
    print(json.dumps(options, default=str))
worker.worker.callback = show
celery.main(ARGV[1:], prog_name="celery", auto_envvar_prefix="CELERY", standalone_mode=False)
from kombu.utils.compat import detect_environment
print(detect_environment())
"""


@pytest.fixture
def started(
    config_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Callable[..., str]
) -> Callable[[str], tuple[dict[str, Any], str]]:
    """Of a queue's table: the options with which Celery's command line would start its worker, and the green library that
    its process is patched for.
    """
    (tmp_path / "proj_name.py").write_text(
        'from celery import Celery\napp = Celery("proj_name")\napp.config_from_object("switchyard.celeryconfig")\n'
    )
    (tmp_path / "state" / "secrets").mkdir()
    (tmp_path / "state" / "secrets" / "redis_password").write_text("nobody")
    monkeypatch.setenv("CELERY_APP", "proj_name")
    monkeypatch.setenv("QUEUE", "long_queue")

    def start(table: str) -> tuple[dict[str, Any], str]:
        (config_dir / "queues.toml").write_text(f"[queues.long_queue]\n{table}")
        became: list[Any] = []
        monkeypatch.setattr(launch, "_become", lambda *call, fresh: became.append((*call, fresh)))
        launch.become_worker(settings(), queues.load(config_dir, {}))
        ((arguments, options, fresh),) = became
        shown, green = python(f"ARGV = {['celery', *arguments]!r}" + ASK_COMMAND_LINE, **options).splitlines()
        assert fresh == (green != "default")
        return json.loads(shown), green

    return start


def test_the_articles_worker_command_is_what_its_queue_starts(
    started: Callable[[str], tuple[dict[str, Any], str]],
) -> None:
    """Read through Celery's own command line: -O fair -Q long_queue -P gevent --autoscale=32,16 --loglevel=INFO."""
    options, green = started('pool = "gevent"\nautoscale = "32,16"\nlog_level = "INFO"\n')
    assert options["optimization"] == "fair"
    assert options["queues"] == ["long_queue"]
    assert options["pool"] == "celery.concurrency.gevent.TaskPool"
    assert options["autoscale"] == [32, 16]
    assert options["loglevel"] == logging.INFO
    assert options["hostname"].startswith("long_queue@")
    assert green == "gevent", "the pool is on the command line, where it is seen early enough for monkey patching"


def test_what_we_add_to_the_articles_command_is_read_too(started: Callable[[str], tuple[dict[str, Any], str]]) -> None:
    """Each further CELERY_WORKER_* variable takes effect in Celery's own command line."""
    options, green = started(
        'pool = "prefork"\nconcurrency = 4\nlog_level = "DEBUG"\nevents = true\nmemory = "2G"\ntime_limit = 1234567.5\n'
    )
    assert options["without_mingle"] is True
    assert options["without_gossip"] is True
    assert options["task_events"] is True
    assert options["concurrency"] == 4
    assert options["autoscale"] is None
    assert options["max_memory_per_child"] == 2 * 1024 * 1024 // 4, "in KiB, each child its share"
    assert options["time_limit"] == 1234567.5
    assert options["loglevel"] == logging.DEBUG
    assert options["pool"] == "celery.concurrency.prefork.TaskPool"
    assert green == "default"


def test_events_are_off_and_memory_unbounded_where_they_do_not_apply(
    started: Callable[[str], tuple[dict[str, Any], str]],
) -> None:
    """A queue without events sends none; a pool without children replaces none."""
    options, _ = started('pool = "threads"\n')
    assert not options["task_events"]
    assert options["max_memory_per_child"] is None
    assert options["pool"] == "celery.concurrency.thread.TaskPool"


@pytest.mark.parametrize("pool", ["gevent", "prefork", "threads", "solo"])
def test_every_variable_of_ours_is_an_option_of_celerys_worker(pool: str) -> None:
    """A name that Celery does not know would be ignored without a word."""
    from celery.bin.worker import worker

    known = {f"CELERY_WORKER_{option.name}".upper() for option in worker.params if option.name}
    # The option's destination differs from its flag's name here; click takes the variable from the destination.
    queue = queues.Queue(name="a", pool=pool, events=True, concurrency=3)  # type: ignore[arg-type]
    ours = launch.worker_environment(queue)
    assert set(ours) <= known
    assert all(isinstance(value, str) for value in ours.values())
