"""config/queues.toml in, queues and routes out; and every way in which it is refused."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from switchyard import queues
from switchyard.errors import ConfigError
from switchyard.queues import RUN_TIME_KEYS, SHAPE_KEYS, Queue, Queues, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANY = 200


def parsed(overrides: Mapping[str, Mapping[str, str]] | None = None, **source: Any) -> Queues:
    return parse(source, overrides or {}, where="queues.toml")


def refusal(overrides: Mapping[str, Mapping[str, str]] | None = None, **source: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        parsed(overrides, **source)
    return str(refused.value)


# Of each table of queues.a: what of it is refused, and what was expected instead.
BAD_TABLES = [
    # a key nobody knows, close to one or to none
    ({"concurency": 4}, "queues.a.concurency: unknown key. Did you mean 'concurrency'?"),
    ({"zzz": 4}, "queues.a.zzz: unknown key. Expected one of: autoscale, concurrency, cpus"),
    # the name is in the table's head
    ({"name": "b"}, "queues.a.name: unknown key."),
    # the pool is one of Celery's
    ({"pool": "fork"}, "queues.a.pool: input should be 'gevent', 'prefork', 'threads', 'solo' or 'eventlet', got 'fork'"),
    # slots
    ({"concurrency": 0}, "queues.a.concurrency: input should be greater than or equal to 1, got 0"),
    ({"concurrency": "many"}, "queues.a.concurrency: input should be a valid integer"),
    # autoscale is "most,least"
    ({"autoscale": "16,32"}, """queues.a.autoscale: expected "most,least" slots, such as "32,16", got '16,32'"""),
    ({"autoscale": "0,0"}, "queues.a.autoscale: expected"),
    ({"autoscale": "32"}, "queues.a.autoscale: expected"),
    ({"autoscale": [32, 16]}, "queues.a.autoscale: expected"),
    ({"autoscale": "-4,-8"}, "queues.a.autoscale: expected"),
    # Celery's autoscaler ends a worker whose pool cannot grow
    ({"pool": "threads", "autoscale": "4,2"}, "queues.a.autoscale: the threads pool cannot scale"),
    ({"pool": "solo", "autoscale": "4,2"}, "queues.a.autoscale: the solo pool cannot scale"),
    # limits
    ({"time_limit": 0}, "queues.a.time_limit: input should be greater than 0, got 0"),
    ({"time_limit": float("inf")}, "queues.a.time_limit: input should be a finite number"),
    ({"drain": -1}, "queues.a.drain: input should be greater than or equal to 0, got -1"),
    ({"drain": float("inf")}, "queues.a.drain: input should be a finite number"),
    ({"drain": float("nan")}, "queues.a.drain: input should be"),
    ({"cpus": 0}, "queues.a.cpus: input should be greater than 0, got 0"),
    # memory has a unit
    ({"memory": "512"}, "queues.a.memory: expected a number and a unit, such as 512M or 2G, got '512'"),
    ({"memory": 512}, "queues.a.memory: expected a number and a unit"),
    ({"memory": "512m"}, "queues.a.memory: expected a number and a unit"),
    ({"memory": "0M"}, "queues.a.memory: expected a number and a unit"),
    ({"memory": "1.5G"}, "queues.a.memory: expected a number and a unit"),
    # 0 is no bound; less is nothing
    ({"prefetch": -1}, "queues.a.prefetch: input should be greater than or equal to 0, got -1"),
    # a bound lets something through
    ({"max_waiting": 0}, "queues.a.max_waiting: input should be greater than or equal to 1, got 0"),
    ({"max_waiting": "many"}, "queues.a.max_waiting: input should be a valid integer"),
    # levels are Python's, in upper case
    ({"log_level": "info"}, "queues.a.log_level: input should be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"),
    ({"events": "maybe"}, "queues.a.events: input should be a valid boolean"),
    # tasks are a list of names or globs
    ({"tasks": "reports.*"}, "queues.a.tasks: input should be a valid tuple, got 'reports.*'"),
    ({"tasks": [""]}, "queues.a.tasks.0: expected a Celery task name or a glob"),
    ({"tasks": ["sales report"]}, "queues.a.tasks.0: expected a Celery task name or a glob"),
    ({"imports": [3]}, "queues.a.imports.0: input should be a valid string, got 3"),
    # "*" is the default queue's
    ({"tasks": ["*"]}, 'queues.a.tasks: "*" stands alone, and only in queues.default.tasks'),
    ({"tasks": ["x", "*"]}, 'queues.a.tasks: "*" stands alone, and only in queues.default.tasks'),
]  # fmt: skip


@pytest.mark.parametrize(("table", "sentence"), BAD_TABLES)
def test_a_bad_key_is_refused_naming_it_and_what_was_expected(table: dict[str, Any], sentence: str) -> None:
    """A queue's table with one mistake gives one sentence, with the file, the queue and the key in it."""
    assert f"queues.toml: {sentence}" in refusal(queues={"a": table})
    assert "\n" not in refusal(queues={"a": table})


@pytest.mark.parametrize(("table", "sentence"), BAD_TABLES)
def test_a_bad_default_is_named_where_it_stands(table: dict[str, Any], sentence: str) -> None:
    """What [defaults] has wrong is called defaults.<key>, once, however many queues it comes to."""
    expected = sentence.replace("queues.a.", "defaults.", 1)
    (said,) = refusal(defaults=table, queues={"a": {}, "b": {}}).splitlines()
    assert expected in said


@pytest.mark.parametrize(
    "name",
    [
        "Sales",  # upper case: the environment's names have none
        "1st",  # starts with a digit
        "_sales",  # or with what separates
        "sales__report",  # two separators end a name in QUEUES__SALES__REPORT
        "sales-report",  # no sign that a variable cannot have
        "sales.report",
        "verkäufe",  # letters are a to z
        "sales\n",  # the whole name counts, its end too
        "",  # no name at all
    ],
)
def test_a_bad_queue_name_is_refused(name: str) -> None:
    """A queue's name is [a-z][a-z0-9_]* without two underscores together."""
    assert f"queues.{name}: bad name; expected a-z, 0-9 and single _, starting with a letter." in refusal(
        queues={name: {}}
    )


def test_the_queue_of_events_cannot_be_had() -> None:
    """Other applications publish events to it; a worker there would take them for tasks."""
    said = refusal(queues={"events": {"concurrency": 3}})
    assert (
        said
        == "queues.toml: queues.events: events from other applications wait in the queue of this name; take another."
    )
    assert "events_queue" in parsed(queues={"events_queue": {}}).by_name


def test_a_queue_has_no_bound_unless_one_is_set() -> None:
    """In its own table or in the defaults."""
    assert parsed(queues={"a": {}})["a"].max_waiting is None
    found = parsed(defaults={"max_waiting": 9}, queues={"a": {"max_waiting": 2}, "b": {}})
    assert (found["a"].max_waiting, found["b"].max_waiting, found["default"].max_waiting) == (2, 9, 9)


def test_only_good_names_make_queues_of_all_that_can_be_typed() -> None:
    """Of many random names exactly those of the documented form are taken."""
    dice = random.Random(1)
    for _ in range(MANY):
        name = "".join(dice.choices("ab1_Z-", k=dice.randint(1, 4)))
        good = name[0] in "ab" and set(name) <= set("ab1_") and "__" not in name
        if good:
            assert name in parsed(queues={name: {}}).by_name
        else:
            assert "bad name" in refusal(queues={name: {}})


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        # a table close to a known one, and one that is not
        ({"queue": {}}, "queues.toml: 'queue' is no table here. Did you mean 'queues'?"),
        ({"zzz": {}}, "queues.toml: 'zzz' is no table here. Expected one of: defaults, queues, reports."),
        # a value where a table is expected
        ({"defaults": 3}, "queues.toml: defaults: expected a table, got 3."),
        ({"queues": [1]}, "queues.toml: queues: expected a table, got [1]."),
        ({"queues": {"a": 3}}, "queues.toml: queues.a: expected a table of keys, got 3."),
    ],
)
def test_a_file_of_another_form_is_refused(source: dict[str, Any], sentence: str) -> None:
    """Unknown tables, and values in the place of tables, are sentences too."""
    assert refusal(**source) == sentence


def test_every_mistake_is_told_at_once() -> None:
    """A file with several mistakes is mended in one go."""
    said = refusal({"b": {"concurrency": "1"}}, queues={"a": {"zzz": 1, "memory": "1"}, "B": {}, "c": 3}, extra=1)
    assert said == "queues.toml: 'extra' is no table here. Expected one of: defaults, queues, reports."
    said = refusal({"b": {"concurrency": "1"}}, queues={"a": {"zzz": 1, "memory": "1"}, "B": {}, "c": 3})
    for part in ("QUEUES__B__CONCURRENCY", "queues.a.zzz", "queues.a.memory", "queues.B", "queues.c"):
        assert part in said


# --- The environment


@pytest.mark.parametrize("key", SHAPE_KEYS)
def test_shape_cannot_be_overridden_from_the_environment(key: str) -> None:
    """What is rendered comes from files only; the variable is named."""
    said = refusal({"sales_queue": {key: "1"}}, queues={"sales_queue": {}})
    assert (
        f"QUEUES__SALES_QUEUE__{key.upper()}: {key!r} is shape; it comes from queues.toml or queues.local.toml" in said
    )


def test_every_key_is_either_shape_or_run_time() -> None:
    """Nobody can add a key without deciding which of the two it is."""
    assert {*SHAPE_KEYS, *RUN_TIME_KEYS} == set(Queue.model_fields) - {"name"}
    assert not set(SHAPE_KEYS) & set(RUN_TIME_KEYS)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        # a queue that is none, close to one or not
        ({"sales": {"concurrency": "1"}}, "QUEUES__SALES__CONCURRENCY: there is no queue 'sales'. Did you mean 'sales_queue'?"),
        ({"zzz": {"concurrency": "1"}}, "QUEUES__ZZZ__CONCURRENCY: there is no queue 'zzz'. Expected one of: default, sales_queue, threads_queue."),
        # a key that is none
        ({"sales_queue": {"concurency": "1"}}, "QUEUES__SALES_QUEUE__CONCURENCY: unknown key. Did you mean 'concurrency'?"),
        ({"sales_queue": {"name": "x"}}, "QUEUES__SALES_QUEUE__NAME: unknown key."),
        # a value that is none
        ({"sales_queue": {"concurrency": "x"}}, "QUEUES__SALES_QUEUE__CONCURRENCY: input should be a valid integer"),
        ({"sales_queue": {"autoscale": "1"}}, 'QUEUES__SALES_QUEUE__AUTOSCALE: expected "most,least" slots'),
        # a value that does not suit the file's pool
        ({"threads_queue": {"autoscale": "2,1"}}, "QUEUES__THREADS_QUEUE__AUTOSCALE: the threads pool cannot scale"),
    ],
)  # fmt: skip
def test_a_bad_override_is_refused_by_its_variable(overrides: dict[str, dict[str, str]], sentence: str) -> None:
    """The sentence names the variable as it was typed, not a key of the file."""
    said = refusal(overrides, queues={"sales_queue": {}, "threads_queue": {"pool": "threads"}})
    assert sentence in said
    assert "queues.toml" not in said


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        # each run-time key as the environment has it, and what it becomes
        ("autoscale", "32,16", (32, 16)),
        ("concurrency", "4", 4),
        ("events", "false", False),
        ("log_level", "DEBUG", "DEBUG"),
        ("prefetch", "0", 0),
    ],
)
def test_a_run_time_key_of_the_environment_wins(key: str, text: str, value: object) -> None:
    """Over the queue's own table and over [defaults]; other queues keep theirs."""
    table = {"autoscale": "9,8", "concurrency": 9, "events": True, "log_level": "ERROR", "prefetch": 9}
    found = parsed({"a": {key: text}}, defaults=table, queues={"a": table, "b": {}})
    assert getattr(found["a"], key) == value
    assert getattr(found["b"], key) == getattr(Queue(name="b", **table), key) != value


def test_the_table_of_run_time_keys_above_is_complete() -> None:
    """A new run-time key must come with a row."""
    rows = test_a_run_time_key_of_the_environment_wins.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {row[0] for row in rows} == set(RUN_TIME_KEYS)


@pytest.mark.parametrize(
    ("defaults", "table", "override", "slots"),
    [
        # the queue's own word on slots replaces the defaults', whichever of the two keys either uses
        ({"autoscale": "32,16"}, {"concurrency": 3}, {}, 3),
        ({"concurrency": 3}, {"autoscale": "32,16"}, {}, 32),
        # and the environment's replaces both
        ({}, {"autoscale": "32,16"}, {"concurrency": "5"}, 5),
        ({}, {"concurrency": 3}, {"autoscale": "6,1"}, 6),
        # within one table autoscale is what runs
        ({}, {"concurrency": 3, "autoscale": "32,16"}, {}, 32),
    ],
)
def test_the_nearest_word_on_slots_counts(
    defaults: dict[str, Any], table: dict[str, Any], override: dict[str, str], slots: int
) -> None:
    """A concurrency that somebody sets is never ignored because of an autoscale further away."""
    assert parsed({"a": override}, defaults=defaults, queues={"a": table})["a"].slots == slots


# --- Tasks


def some(**tasks: list[str]) -> Queues:
    return parsed(queues={name: {"tasks": globs} for name, globs in tasks.items()})


@pytest.mark.parametrize(
    ("tables", "tasks", "sentences"),
    [
        # each task in one queue, nothing to say
        ({"default": ["a"], "b_queue": ["b.*"]}, ["a", "b.one", "b.two"], []),
        # a glob that matches nothing, close to a task or not
        ({"default": ["sale"]}, ["sales"], ["queues.default.tasks: 'sale' matches no task. Did you mean 'sales'?",
                                            "Task 'sales' is taken by no queue"]),
        ({"default": ["*"], "b_queue": ["zzz.*"]}, ["a"], ["queues.b_queue.tasks: 'zzz.*' matches no task. Expected one of: a."]),
        ({"default": ["x"]}, [], ["queues.default.tasks: 'x' matches no task. Expected one of: none."]),
        # a task in two queues, or in three
        ({"b_queue": ["a*"], "c_queue": ["*b"], "default": ["*"]}, ["ab"],
         ["Task 'ab' is taken by b_queue and by c_queue; name it in one queue's tasks only."]),
        ({"default": ["a"], "b_queue": ["a"], "c_queue": ["a"]}, ["a"], ["taken by default and by b_queue and by c_queue"]),
        # a task in no queue, with and without a default queue that takes the rest
        ({"b_queue": ["b"]}, ["a", "b"], ["Task 'a' is taken by no queue; add it to a queue's tasks, or set queues.default.tasks"]),
        ({"b_queue": ["b"], "default": ["*"]}, ["a", "b"], []),
        # Celery's own tasks and the core's are nobody's
        ({"default": ["a"]}, ["a", "celery.chord", "switchyard.sweep"], []),
        # globs heed case, as Celery's names do
        ({"default": ["Sales.*"]}, ["sales.x"], ["matches no task", "taken by no queue"]),
    ],
)  # fmt: skip
def test_globs_and_tasks_must_meet_one_to_one(
    tables: dict[str, list[str]], tasks: list[str], sentences: list[str]
) -> None:
    """Every glob matches a task, every task has one queue; else a sentence each."""
    said = some(**tables).refusals(tasks)
    assert len(said) == len(sentences)
    for line, sentence in zip(said, sentences, strict=True):
        assert sentence in line


def test_where_nothing_is_refused_the_routes_send_every_task_to_its_one_queue() -> None:
    """For many random tables: `refusals` is silent exactly if each task has one taker and each glob a task; and then
    `queue_of` and `routes` agree with it.
    """
    dice = random.Random(2)
    silent = 0
    for _ in range(MANY):
        tasks = [f"{kind}.{n}" for kind in "abc" for n in range(2)]
        globs = dice.sample(["a.*", "b.*", "c.*", "a.0", "*.1", "c.[01]", "d"], k=3)
        names = [dice.choice(["default", "x", "y"]) for _ in globs]
        tables: dict[str, list[str]] = {}
        for name, glob in zip(names, globs, strict=True):
            tables.setdefault(name, []).append(glob)
        if dice.random() < 0.5:
            tables["default"] = ["*"]
        found = some(**tables)

        catch_all = tables.get("default") == ["*"]
        named = {name: g for name, g in tables.items() if g != ["*"]}
        takers = {task: [n for n, gs in named.items() if any(fnmatchcase(task, g) for g in gs)] for task in tasks}
        empty = [g for gs in named.values() for g in gs if not any(fnmatchcase(task, g) for task in tasks)]
        fine = not empty and all(len(t) == 1 or (catch_all and not t) for t in takers.values())
        assert (found.refusals(tasks) == []) == fine
        if fine:
            silent += 1
            for task in tasks:
                queue = takers[task][0] if takers[task] else "default"
                assert found.queue_of(task) == queue
                routed = {route["queue"] for glob, route in found.routes().items() if fnmatchcase(task, glob)}
                assert routed == ({queue} - {"default"})
    assert 10 < silent < MANY, "the random tables must be of both kinds"


@pytest.mark.parametrize(
    ("tables", "workflow", "sentence"),
    [
        # taken by name, by a glob, by the queue that takes the rest
        ({"default": ["a"]}, "a", None),
        ({"b_queue": ["b.*"]}, "b.one", None),
        ({"default": ["*"]}, "zzz", None),
        # by a report's queue
        ({"default": []}, "reports.sales", None),
        # taken by none, close to a glob or not
        ({"default": ["refresh_products"]}, "refresh_product",
         "no queue takes the task 'refresh_product'; add it to a queue's tasks. Did you mean 'refresh_products'?"),
        ({"b_queue": ["b.*"]}, "zzz",
         "no queue takes the task 'zzz'; add it to a queue's tasks. Expected one of: b.*, reports.sales, "),
    ],
)  # fmt: skip
def test_a_workflow_that_no_queue_takes_is_told_by_its_key(
    tables: dict[str, list[str]], workflow: str, sentence: str | None
) -> None:
    """As far as globs can tell: which tasks exist, only the app knows."""
    queues = {name: {"tasks": globs} for name, globs in tables.items()}
    said = parsed(queues=queues, reports={"sales": {"module": "m"}}).untaken({"events.toml: x.workflow": workflow})
    assert len(said) == (sentence is not None)
    assert all(line.startswith(f"events.toml: x.workflow: {sentence}") for line in said)


def test_the_default_queue_always_exists() -> None:
    """An empty file is a deployment of one queue, which takes what nobody names."""
    found = parsed()
    assert list(found.by_name) == ["default"]
    assert found.queue_of("anything") == "default"
    assert list(parsed(queues={"a": {}}).by_name) == ["default", "a"]
    assert parsed(defaults={"concurrency": 7})["default"].concurrency == 7


def test_an_unknown_queue_is_a_sentence_with_a_suggestion() -> None:
    """Asked for by a name that is no queue's, the queues name one that is close."""
    with pytest.raises(ConfigError, match="There is no queue 'sale_queue'. Did you mean 'sales_queue'?"):
        parsed(queues={"sales_queue": {}})["sale_queue"]


def test_queues_cannot_be_changed_once_they_are_read() -> None:
    """They are shared by everything in a process."""
    with pytest.raises(ValueError, match="frozen"):
        parsed()["default"].concurrency = 3  # type: ignore[misc]


# --- Derived numbers


def test_what_is_derived_is_in_order_for_any_queue() -> None:
    """drain < stop_wait < stop_grace; time_limit < chunk_time_limit < visibility_timeout; slots are the most that run at once."""
    dice = random.Random(3)
    for _ in range(MANY):
        tables = {}
        for name in "abc":
            table: dict[str, Any] = {
                "time_limit": dice.choice([0.5, 1, 59.9, 300, 86400]),
                "drain": dice.choice([0, 0.9, 60, 7200.5]),
                "pool": dice.choice(["prefork", "gevent", "eventlet"]),
            }
            slots: dict[str, Any] = dice.choice([{"concurrency": dice.randint(1, 64)}, {"autoscale": "32,16"}])
            tables[name] = table | slots
        found = parsed(queues=tables)
        for queue in found.by_name.values():
            assert queue.drain < queue.stop_wait < queue.stop_grace
            assert 2 * queue.time_limit < queue.chunk_time_limit < found.visibility_timeout
        for name, table in tables.items():
            assert found[name].slots == (32 if "autoscale" in table else table["concurrency"])


@pytest.mark.parametrize(
    ("table", "multiplier"),
    [
        # one per slot on every pool
        ({"pool": "prefork"}, 1),
        ({"pool": "threads"}, 1),
        ({"pool": "solo"}, 1),
        ({"pool": "gevent"}, 1),
        ({"pool": "eventlet"}, 1),
        # what is said counts, no bound too
        ({"pool": "gevent", "prefetch": 1}, 1),
        ({"pool": "gevent", "prefetch": 0}, 0),
        ({"pool": "gevent", "prefetch": 4}, 4),
        ({"pool": "prefork", "prefetch": 1}, 1),
    ],
)
def test_a_slot_has_one_message_unless_prefetch_says_otherwise(table: dict[str, Any], multiplier: int) -> None:
    """`worker_prefetch_multiplier` is derived, and can be said."""
    assert parsed(queues={"a": table})["a"].prefetch_multiplier == multiplier


@pytest.mark.parametrize(("text", "size"), [("3K", 3 * 1024), ("512M", 512 * 1024**2), ("2G", 2 * 1024**3)])
def test_memory_is_bytes(text: str, size: int) -> None:
    """Units are powers of 1024."""
    assert parsed(queues={"a": {"memory": text}})["a"].memory == size


def test_every_key_says_what_it_is() -> None:
    """The docs' table of keys is made of these."""
    assert [name for name, field in Queue.model_fields.items() if name != "name" and not field.description] == []


# --- Files


def test_the_local_file_amends_the_one_in_the_repository(tmp_path: Path) -> None:
    """Key by key, in queues and in defaults; it may add a queue, and the rest stays as it was."""
    (tmp_path / "queues.toml").write_text(
        '[defaults]\nconcurrency = 2\ncpus = 3\n[queues.a]\ntasks = ["a"]\ndrain = 9\n[queues.b]\ntasks = ["b"]\n'
    )
    (tmp_path / "queues.local.toml").write_text(
        "[defaults]\nconcurrency = 5\n[queues.a]\ndrain = 1\n[queues.c]\ncpus = 7\n"
    )
    found = queues.load(tmp_path, {"b": {"concurrency": "6"}})
    assert list(found.by_name) == ["default", "a", "b", "c"]
    assert (found["a"].tasks, found["a"].drain, found["a"].concurrency, found["a"].cpus) == (("a",), 1, 5, 3)
    assert (found["b"].tasks, found["b"].drain, found["b"].concurrency) == (("b",), 60, 6)
    assert (found["c"].cpus, found["c"].concurrency) == (7, 5)


@pytest.mark.parametrize(
    ("main", "local", "sentence"),
    [
        # a key of the local file is not blamed on the other alone
        ("", "[queues.a]\nzzz = 1\n", "queues.toml with queues.local.toml: queues.a.zzz: unknown key."),
        ("", "[zzz]\n", "queues.toml with queues.local.toml: 'zzz' is no table here."),
        # values where tables are expected, in either file
        ("", "queues = 3\n", "queues.toml with queues.local.toml: queues: expected a table, got 3."),
        ("[queues.a]\n", "[queues]\na = 3\n", "queues.toml with queues.local.toml: queues.a: expected a table of keys, got 3."),
        ("[queues]\na = 3\n", "", "queues.toml: queues.a: expected a table of keys, got 3."),
        ("[defaults]\n", "defaults = 3\n", "queues.toml with queues.local.toml: defaults: expected a table, got 3."),
        # no TOML, in either file
        ("[queues", "", "queues.toml is not valid TOML: "),
        ("", "a = ", "queues.local.toml is not valid TOML: "),
        ("[queues.a]\n[queues.a]\n", "", "queues.toml is not valid TOML: "),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_by_its_name(tmp_path: Path, main: str, local: str, sentence: str) -> None:
    """Whatever the two files hold, the answer is a sentence that names the file."""
    (tmp_path / "queues.toml").write_text(main)
    if local:
        (tmp_path / "queues.local.toml").write_text(local)
    with pytest.raises(ConfigError) as refused:
        queues.load(tmp_path, {})
    assert sentence in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A file in another encoding is no TOML."""
    (tmp_path / "queues.toml").write_bytes(b'[queues."\xff"]')
    with pytest.raises(ConfigError, match=r"queues.toml is not valid TOML"):
        queues.load(tmp_path, {})


def test_a_missing_file_is_refused_with_the_setting_that_names_its_folder(tmp_path: Path) -> None:
    """The answer says where it was looked for, and what to set."""
    with pytest.raises(ConfigError, match=r"Cannot read .*queues.toml .*CONFIG_DIR names the folder"):
        queues.load(tmp_path / "nowhere", {})


def test_the_globs_are_asked_once_for_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for each message that is published: fifty of them take longer than the rest of it."""
    found, asked = parsed(queues={f"q{n}": {"tasks": [f"q{n}.*"]} for n in range(50)}), []
    takes = Queue.takes
    monkeypatch.setattr(Queue, "takes", lambda queue, task: asked.append(queue.name) or takes(queue, task))
    assert [found.queue_of("q49.task") for _ in range(3)] == ["q49"] * 3
    assert [found.queue_of("other") for _ in range(3)] == ["default"] * 3
    assert len(asked) == 100
