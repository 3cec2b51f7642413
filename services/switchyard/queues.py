"""config/queues.toml in; queues, routes and limits out. Pure but for reading that file, and the place of every refusal."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from switchyard.errors import ConfigError

DEFAULT_QUEUE = "default"
#: Stands alone in the default queue's `tasks`: every task that no other queue takes.
EVERYTHING_ELSE = "*"
#: Pools whose tasks are greenlets in one process.
GREEN_POOLS = ("gevent", "eventlet")
#: What the environment may override while the shape of the deployment stays as rendered.
RUN_TIME_KEYS = ("autoscale", "concurrency", "events", "log_level", "prefetch")
#: Seconds between the end of `drain` and the kill, for what finished to be acknowledged.
STOP_MARGIN = 15
#: Seconds a task that ended at its limit has to be acknowledged before its message is taken for lost.
VISIBILITY_MARGIN = 15
#: Seconds a chunk may take beyond its last item, for its results to be recorded.
CHUNK_MARGIN = 10
#: Tasks that come with Celery or the core; they are routed by whoever publishes them.
OWN_TASKS = ("celery.*", "switchyard.*")

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


def _memory(value: object) -> int:
    found = re.fullmatch(r"([1-9]\d*)([KMG])", str(value))
    if not found:
        raise ValueError("expected a number and a unit, such as 512M or 2G")
    return int(found[1]) * _UNITS[found[2]]


def _autoscale(value: object) -> object:
    if value is None or isinstance(value, tuple):
        return value
    found = re.fullmatch(r"(\d+),(\d+)", str(value))
    if not found or int(found[1]) < int(found[2]) or int(found[1]) == 0:
        raise ValueError('expected "most,least" slots, such as "32,16"')
    return int(found[1]), int(found[2])


def _glob(value: str) -> str:
    if not re.fullmatch(r"[\w.*?\[\]!-]+", value):
        raise ValueError("expected a Celery task name or a glob of names, such as reports.sales.*")
    return value


Memory = Annotated[int, BeforeValidator(_memory)]
Autoscale = Annotated[tuple[int, int] | None, BeforeValidator(_autoscale)]
Glob = Annotated[str, AfterValidator(_glob)]


class Queue(BaseModel):
    """One queue: what it takes, and how the worker that consumes it runs. Times in seconds, memory in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    tasks: tuple[Glob, ...] = Field((), description="Names or globs of the Celery tasks it takes")
    imports: tuple[str, ...] = Field((), description="Modules its worker imports; none: what the app imports itself")
    pool: Literal["gevent", "prefork", "threads", "solo", "eventlet"] = Field("prefork", description="Celery's pool")
    concurrency: int = Field(2, ge=1, description="Slots: tasks it runs at once")
    autoscale: Autoscale = Field(None, description='"most,least" slots, in place of concurrency')
    time_limit: float = Field(300, gt=0, description="Seconds a task, or an item of a workflow, may take")
    drain: float = Field(60, ge=0, description="Seconds a stop waits for running tasks")
    memory: Memory = Field(_memory("512M"), description="Memory of its container, such as 512M", validate_default=False)
    cpus: float = Field(1.0, gt=0, description="Processors of its container")
    prefetch: int | None = Field(
        None, ge=0, description="Messages reserved per slot; 0: no bound; unset: what suits the pool"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Its log level")
    events: bool = Field(
        default=False, description="Celery's task events, which Flower shows; costs half a hot queue's rate"
    )

    @field_validator("tasks")
    @classmethod
    def _default_takes_the_rest_or_names_its_tasks(
        cls, tasks: tuple[str, ...], other: ValidationInfo
    ) -> tuple[str, ...]:
        if EVERYTHING_ELSE in tasks and (other.data.get("name") != DEFAULT_QUEUE or len(tasks) > 1):
            raise ValueError(
                f'"*" stands alone, and only in queues.{DEFAULT_QUEUE}.tasks; name the tasks of this queue'
            )
        return tasks

    @field_validator("autoscale")
    @classmethod
    def _pool_can_scale(cls, autoscale: tuple[int, int] | None, other: ValidationInfo) -> tuple[int, int] | None:
        # Celery's autoscaler ends the whole worker when its pool cannot grow.
        if autoscale and other.data.get("pool") in ("threads", "solo"):
            raise ValueError(f"the {other.data['pool']} pool cannot scale; expected concurrency, or another pool")
        return autoscale

    @field_validator("prefetch")
    @classmethod
    def _green_pools_need_credit(cls, prefetch: int | None, other: ValidationInfo) -> int | None:
        if prefetch == 1 and (pool := other.data.get("pool")) in GREEN_POOLS:
            raise ValueError(
                f"one message per slot makes a {pool} worker poll only every two seconds; expected 2 or more, or 0"
            )
        return prefetch

    @property
    def green(self) -> bool:
        """Whether its tasks are greenlets in one process."""
        return self.pool in GREEN_POOLS

    @property
    def prefetch_multiplier(self) -> int:
        """Celery's `worker_prefetch_multiplier`: one message per slot, two where a green poller would starve without."""
        return self.prefetch if self.prefetch is not None else 2 if self.green else 1

    @property
    def slots(self) -> int:
        """The most tasks its worker runs at once."""
        return self.autoscale[0] if self.autoscale else self.concurrency

    @property
    def chunk_time_limit(self) -> float:
        """Seconds after which a chunk is hung: it starts no item after one `time_limit`, and that item may take another."""
        return 2 * self.time_limit + CHUNK_MARGIN

    @property
    def stop_wait(self) -> int:
        """Seconds between the stop signal and the kill: `drain < stop_wait`, by derivation."""
        return int(self.drain) + STOP_MARGIN

    def takes(self, task: str) -> bool:
        """Whether one of its globs matches this task name."""
        return any(fnmatchcase(task, glob) for glob in self.tasks)


SHAPE_KEYS = tuple(key for key in Queue.model_fields if key not in (*RUN_TIME_KEYS, "name"))


class Queues(BaseModel):
    """Every queue of the deployment by name; the default queue is always among them."""

    model_config = ConfigDict(frozen=True)

    by_name: Mapping[str, Queue]

    def __getitem__(self, name: str) -> Queue:
        if name not in self.by_name:
            raise ConfigError(f"There is no queue {name!r}. {_expected(name, self.by_name)}")
        return self.by_name[name]

    def routes(self) -> dict[str, dict[str, str]]:
        """Celery's `task_routes`: what the default queue takes needs no route."""
        return {glob: {"queue": queue.name} for queue in self.by_name.values() for glob in queue.tasks
                if queue.name != DEFAULT_QUEUE}  # fmt: skip

    def queue_of(self, task: str) -> str:
        """The queue that takes this task."""
        return next((q.name for q in self.by_name.values() if q.name != DEFAULT_QUEUE and q.takes(task)), DEFAULT_QUEUE)

    @property
    def visibility_timeout(self) -> float:
        """Seconds after which the stock transport gives an unacknowledged message to another worker. Longer than any
        task may take, or it would run twice: https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html
        """
        return max(queue.chunk_time_limit for queue in self.by_name.values()) + VISIBILITY_MARGIN

    def refusals(self, tasks: Iterable[str]) -> list[str]:
        """What is wrong between the globs and the tasks that really exist: one sentence each."""
        names = sorted(task for task in tasks if not any(fnmatchcase(task, own) for own in OWN_TASKS))
        return [*self._globs_without_tasks(names), *self._tasks_without_one_queue(names)]

    def _globs_without_tasks(self, names: list[str]) -> Iterable[str]:
        for queue in self.by_name.values():
            for glob in queue.tasks:
                if not any(fnmatchcase(name, glob) for name in names):
                    yield f"queues.{queue.name}.tasks: {glob!r} matches no task. {_expected(glob, names)}"

    def _tasks_without_one_queue(self, names: list[str]) -> Iterable[str]:
        catch_all = EVERYTHING_ELSE in self.by_name[DEFAULT_QUEUE].tasks
        for name in names:
            takers = [q.name for q in self.by_name.values() if q.takes(name) and EVERYTHING_ELSE not in q.tasks]
            if len(takers) > 1:
                yield f"Task {name!r} is taken by {' and by '.join(takers)}; name it in one queue's tasks only."
            elif not takers and not catch_all:
                yield f'Task {name!r} is taken by no queue; add it to a queue\'s tasks, or set queues.default.tasks = ["*"].'


def parse(source: Mapping[str, Any], overrides: Mapping[str, Mapping[str, str]], *, where: str) -> Queues:
    """Queues from the tables of queues.toml and the environment's overrides.

    Raises ConfigError with a sentence for each key that is refused; `where` names the file in them.
    """
    problems = [f"{where}: {key!r} is no table here. {_expected(key, ('defaults', 'queues'))}"
                for key in source if key not in ("defaults", "queues")]  # fmt: skip
    problems += [f"{where}: {key}: expected a table, got {source[key]!r}."
                 for key in ("defaults", "queues") if not isinstance(source.get(key, {}), Mapping)]  # fmt: skip
    if problems:
        raise ConfigError("\n".join(problems))
    tables = {DEFAULT_QUEUE: {}, **source.get("queues", {})}
    problems += _override_problems(overrides, tables)
    queues = {}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            problems.append(f"{where}: queues.{name}: expected a table of keys, got {table!r}.")
            continue
        if not _NAME.fullmatch(name) or "__" in name:
            expected = "expected a-z, 0-9 and single _, starting with a letter"
            problems.append(f"{where}: queues.{name}: bad name; {expected}.")
            continue
        merged = _merged(source.get("defaults", {}), table, overrides.get(name, {}))
        try:
            queues[name] = Queue(**{**merged, "name": name})
        except ValidationError as exc:
            problems += [_sentence(where, name, error, source, overrides) for error in exc.errors()]
        if "name" in merged:
            problems.append(_sentence(where, name, {"type": "extra_forbidden", "loc": ("name",)}, source, overrides))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return Queues(by_name=queues)


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of all layers, the last word on each; one on `concurrency` is one on `autoscale`, too."""
    merged: dict[str, Any] = {}
    for layer in layers:
        if "concurrency" in layer:
            merged.pop("autoscale", None)
        merged.update(layer)
    return merged


def load(config_dir: Path, overrides: Mapping[str, Mapping[str, str]]) -> Queues:
    """Queues from `config_dir`/queues.toml, amended by queues.local.toml beside it. Raises ConfigError."""
    source = _read(config_dir / "queues.toml")
    local = _read(config_dir / "queues.local.toml") if (config_dir / "queues.local.toml").exists() else {}
    where = "queues.toml with queues.local.toml" if local else "queues.toml"
    return parse(_amended(source, local), overrides, where=where)


def _amended(source: Mapping[str, Any], local: Mapping[str, Any], depth: int = 2) -> dict[str, Any]:
    """`source` with the keys of `local`: two tables of one name are one table. `parse` refuses what is no table."""
    both = {key for key in local if depth and isinstance(source.get(key), dict) and isinstance(local[key], dict)}
    return {**source, **local, **{key: _amended(source[key], local[key], depth - 1) for key in both}}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as exc:
        raise ConfigError(f"Cannot read {path} ({exc.strerror}); CONFIG_DIR names the folder it is in.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}.") from exc


def _override_problems(overrides: Mapping[str, Mapping[str, str]], tables: Mapping[str, Any]) -> Iterable[str]:
    for name, table in overrides.items():
        for key in table:
            variable = f"QUEUES__{name}__{key}".upper()
            if name not in tables:
                yield f"{variable}: there is no queue {name!r}. {_expected(name, tables)}"
            elif key in SHAPE_KEYS:
                yield f"{variable}: {key!r} is shape; it comes from queues.toml or queues.local.toml, not the environment."


def _sentence(where: str, queue: str, error: Any, source: Mapping[str, Any], overrides: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    first = str(error["loc"][0])
    if first in overrides.get(queue, {}):
        place = f"QUEUES__{queue}__{first}".upper()
    elif first in source.get("defaults", {}) and first not in source.get("queues", {}).get(queue, {}):
        place = f"{where}: defaults.{key}"
    else:
        place = f"{where}: queues.{queue}.{key}"
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown key. {_expected(first, (*SHAPE_KEYS, *RUN_TIME_KEYS))}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}, got {error['input']!r}."


def _expected(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Expected one of: {', '.join(sorted(known)) or 'none'}."
