"""What a Celery app takes from us: only names that Celery knows, and routes that follow queues.toml."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from celery.app.defaults import SETTING_KEYS
from celery.exceptions import QueueNotFound

from switchyard import hooks, queues, routing
from switchyard.errors import ConfigError
from switchyard.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOWHERE = "redis://:nobody@127.0.0.1:1/0"
#: Settings that Celery reads but does not list; a test below shows that it does.
READ_WITHOUT_A_DEFAULT = {"result_backend_thread_safe"}
TWO_QUEUES = """
[queues.default]
pool = "gevent"
concurrency = 50
[queues.sales_queue]
tasks = ["sales.*"]
imports = ["sales.tasks"]
pool = "prefork"
time_limit = 600
"""


@pytest.fixture
def queues_file(config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CELERY_BROKER_URL", NOWHERE)
    file = config_dir / "queues.toml"
    file.write_text(TWO_QUEUES)
    return file


@pytest.fixture
def load(queues_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Import celeryconfig as a new process would, with these variables; its hooks stay out of this one."""
    monkeypatch.setattr(hooks, "connect", lambda: None)
    imported = "switchyard.celeryconfig"
    before = sys.modules.pop(imported, None)

    def new(**variables: str) -> ModuleType:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        sys.modules.pop(imported, None)
        settings.cache_clear()
        monkeypatch.setattr(routing, "_read", None)
        return import_module(imported)

    yield new
    sys.modules.pop(imported, None)
    if before:
        sys.modules[imported] = before


@pytest.fixture
def app(load: Callable[..., ModuleType]) -> Iterator[Celery]:
    made = Celery("somebody", set_as_current=False)
    made.config_from_object(load())
    yield made
    made.close()


def edit(file: Path, text: str) -> None:
    """Change a file so that its time stamp differs whatever the clock's resolution is."""
    before = file.stat().st_mtime_ns
    file.write_text(text)
    os.utime(file, ns=(before + 1_000_000, before + 1_000_000))


def test_every_name_is_a_setting_that_celery_knows(load: Callable[..., ModuleType]) -> None:
    """Celery ignores what it does not know without a word, so a misspelt name would do nothing."""
    module = load()
    ours = {
        name for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name not in ("settings", "annotations")
    }  # fmt: skip
    assert ours - SETTING_KEYS - READ_WITHOUT_A_DEFAULT == set()
    assert {"broker_url", "task_queues", "task_routes", "timezone", "worker_prefetch_multiplier"} <= ours


def test_one_backend_serves_all_greenlets(app: Celery) -> None:
    """`result_backend_thread_safe` is in no list of Celery's settings, and is read all the same."""
    assert app.backend.thread_safe is True


def test_no_imported_module_is_taken_for_a_setting(load: Callable[..., ModuleType]) -> None:
    """What celeryconfig imports is visible to Celery, too; none of it may bear a setting's name."""
    modules = {name for name, value in vars(load()).items() if isinstance(value, ModuleType) or callable(value)}
    assert modules & SETTING_KEYS == set()


def test_a_misspelt_queue_raises_at_the_publisher(app: Celery) -> None:
    """Before anything is sent: nothing fills a list that nobody reads."""
    with pytest.raises(QueueNotFound, match="sale_queue"):
        app.send_task("sales.report", queue="sale_queue")


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        # a task that a queue takes
        ("sales.report", "sales_queue"),
        # any other
        ("anything", "default"),
    ],
)
def test_a_task_is_published_to_the_queue_that_takes_it(app: Celery, task: str, queue: str) -> None:
    """By the queue's own name on the nameless exchange, which needs no binding that could be lost."""
    routed = app.amqp.router.route({}, task)["queue"]
    assert (routed.name, routed.exchange.name, routed.exchange.type, routed.routing_key) == (queue, "", "direct", queue)


def test_every_queue_is_declared_and_default_is_where_stock_publishers_send(app: Celery) -> None:
    """A publisher that knows nothing of queues.toml sends to the topic exchange `default` with the key task.default."""
    declared = dict(app.amqp.queues)
    assert declared.keys() == {"default", "sales_queue"}
    default = declared["default"]
    assert (default.exchange.name, default.exchange.type, default.routing_key) == ("default", "topic", "task.default")


def test_routes_follow_queues_toml_without_a_restart(app: Celery, queues_file: Path) -> None:
    """A new queue is published to as soon as the file names it, also one that only the local file names."""
    assert app.amqp.router.route({}, "stock.report")["queue"].name == "default"
    edit(queues_file, TWO_QUEUES + '[queues.stock_queue]\ntasks = ["stock.*"]\n')
    assert app.amqp.router.route({}, "stock.report")["queue"].name == "stock_queue"
    (queues_file.parent / "queues.local.toml").write_text('[queues.price_queue]\ntasks = ["price.*"]\n')
    assert app.amqp.router.route({}, "price.report")["queue"].name == "price_queue"


@pytest.mark.parametrize(
    "broken",
    [
        "[queues",  # no TOML: half written
        "queues = 3",  # TOML of another form
        "[queues.sales_queue]\nzzz = 1",  # an unknown key
    ],
)
def test_a_broken_edit_keeps_the_old_routes_until_it_is_mended(app: Celery, queues_file: Path, broken: str) -> None:
    """Work goes on while somebody edits."""
    assert app.amqp.router.route({}, "sales.report")["queue"].name == "sales_queue"
    edit(queues_file, broken)
    assert app.amqp.router.route({}, "sales.report")["queue"].name == "sales_queue"
    edit(queues_file, '[queues.other_queue]\ntasks = ["sales.*"]\n')
    assert app.amqp.router.route({}, "sales.report")["queue"].name == "other_queue"


def test_a_deleted_file_keeps_the_old_routes(app: Celery, queues_file: Path) -> None:
    """Some editors write by deleting first."""
    assert app.amqp.router.route({}, "sales.report")["queue"].name == "sales_queue"
    queues_file.unlink()
    assert app.amqp.router.route({}, "sales.report")["queue"].name == "sales_queue"


def test_a_file_that_does_not_change_is_read_once(queues_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher asks for every message."""
    reads = []
    monkeypatch.setattr(routing.queues, "load", lambda *_: reads.append(1) or queues.parse({}, {}, where=""))
    assert routing.current_queues() is routing.current_queues()
    assert len(reads) == 1


def test_a_first_read_that_fails_is_refused(queues_file: Path) -> None:
    """There is nothing to keep yet."""
    queues_file.write_text("[queues")
    with pytest.raises(ConfigError, match=r"queues.toml is not valid TOML"):
        routing.current_queues()


@pytest.mark.parametrize(
    ("routes", "task", "queue"),
    [
        # into a queue, and out of one
        ('{"anything": "sales_queue"}', "anything", "sales_queue"),
        ('{"sales.report": "default"}', "sales.report", "default"),
        # single tasks only: others stay where they were
        ('{"sales.report": "default"}', "sales.other", "sales_queue"),
    ],
)
def test_task_routes_of_the_environment_re_route_a_task(
    load: Callable[..., ModuleType], routes: str, task: str, queue: str
) -> None:
    """TASK_ROUTES beats queues.toml."""
    with Celery("somebody", set_as_current=False) as app:
        app.config_from_object(load(TASK_ROUTES=routes))
        assert app.amqp.router.route({}, task)["queue"].name == queue
        assert routing.queue_of(task) == queue


def test_a_re_route_into_no_queue_is_refused(load: Callable[..., ModuleType]) -> None:
    """At start: messages to a queue without a worker would never be seen again."""
    with pytest.raises(
        ConfigError, match=r"TASK_ROUTES: 'a': There is no queue 'sale_queue'. Did you mean 'sales_queue'\?"
    ):
        load(TASK_ROUTES='{"a": "sale_queue"}')


# --- Derived values


def test_a_worker_takes_its_own_queues_imports_and_prefetch(load: Callable[..., ModuleType]) -> None:
    """A publisher has none of its own; the core's own tasks are imported by all."""
    publisher, sales, default = load(), load(QUEUE="sales_queue"), load(QUEUE="default")
    assert [m.imports for m in (publisher, default)] == [["switchyard.workflows.tasks"]] * 2
    assert sales.imports == ["switchyard.workflows.tasks", "sales.tasks"]
    assert [m.worker_prefetch_multiplier for m in (publisher, sales, default)] == [1, 1, 1]
    assert load(QUEUE="default", QUEUES__DEFAULT__PREFETCH="4").worker_prefetch_multiplier == 4


@pytest.mark.parametrize(("prefetch", "multiplier"), [("", 2), ("1", 2), ("3", 3), ("0", 0)])
def test_a_green_worker_of_the_stock_transport_reserves_two_messages_per_slot_at_least(
    load: Callable[..., ModuleType], prefetch: str, multiplier: int
) -> None:
    """kombu's green poller starves with one. No bound stays none, and no other pool nor transport needs it."""
    found = load(BROKER_TRANSPORT="stock", QUEUE="default", QUEUES__DEFAULT__PREFETCH=prefetch)
    assert found.worker_prefetch_multiplier == multiplier
    assert load(QUEUE="sales_queue", QUEUES__SALES_QUEUE__PREFETCH="1").worker_prefetch_multiplier == 1


@pytest.mark.parametrize(("chosen", "module"), [("", "transport"), ("leased", "transport"), ("stock", "stock")])
def test_the_transport_is_leased_unless_the_stock_one_is_wanted(
    load: Callable[..., ModuleType], chosen: str, module: str
) -> None:
    """One setting goes back, and takes the lease's settings along to where they are not read."""
    found = load(BROKER_TRANSPORT=chosen, BROKER_LEASE="7", MAX_DELIVERIES="3")
    assert found.broker_transport == f"switchyard.broker.{module}:Transport"
    options = found.broker_transport_options
    assert (options["lease"], options["max_deliveries"]) == (7, 3)


def test_a_worker_of_no_queue_is_refused(load: Callable[..., ModuleType]) -> None:
    """QUEUE must name one."""
    with pytest.raises(ConfigError, match="There is no queue 'sale_queue'"):
        load(QUEUE="sale_queue")


def test_no_message_is_given_away_while_its_task_may_run(load: Callable[..., ModuleType]) -> None:
    """The stock transport's visibility timeout, for broker and results, is longer than the longest chunk of any queue."""
    module = load()
    longest = queues.parse({"queues": {"a": {"time_limit": 600}}}, {}, where="")["a"].chunk_time_limit
    assert module.broker_transport_options["visibility_timeout"] > longest
    assert module.result_backend_transport_options["visibility_timeout"] > longest


def test_every_pool_of_connections_is_larger_than_the_slots_of_any_queue(load: Callable[..., ModuleType]) -> None:
    """A greenlet that finds no connection loses its acknowledgement."""
    module = load(QUEUES__SALES_QUEUE__CONCURRENCY="500")
    assert module.broker_transport_options["max_connections"] > 500
    assert module.redis_max_connections > 500


def test_a_task_is_acknowledged_when_it_has_ended(load: Callable[..., ModuleType]) -> None:
    """At least once: late acknowledgement, and redelivery when the worker is lost."""
    module = load()
    assert module.task_acks_late is True
    assert module.task_reject_on_worker_lost is True


REPORTS = """
[reports.sales]
module = "sales.report"
schedule = "5 2 * * 1"
[reports.coupons]
module = "coupons.report"
"""


def test_a_reports_worker_imports_its_module_and_the_tasks_of_reports(
    load: Callable[..., ModuleType], queues_file: Path
) -> None:
    """Both of its workers, and nobody else's."""
    queues_file.write_text(REPORTS)
    for queue in ("sales_aggregator_queue", "sales_report_queue"):
        assert load(QUEUE=queue).imports == ["switchyard.workflows.tasks", "sales.report", "switchyard.reports.tasks"]
    assert load(QUEUE="default").imports == ["switchyard.workflows.tasks"]


def test_celerys_own_variables_do_not_say_something_else(load: Callable[..., ModuleType]) -> None:
    """CELERY_BROKER_URL and CELERY_RESULT_BACKEND beat an app's config; they are our names for the same two."""
    with Celery("somebody", set_as_current=False) as app:
        app.config_from_object(load(CELERY_RESULT_BACKEND="redis://127.0.0.1:1/9"))
        assert app.conf.broker_url == settings().broker_url() == NOWHERE
        assert app.conf.result_backend == settings().result_backend_url() == "redis://127.0.0.1:1/9"
