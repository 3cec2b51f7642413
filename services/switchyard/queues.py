"""config/queues.toml in; queues, routes and limits out. Pure but for reading that file, and the place of every refusal."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from switchyard.errors import ConfigError
from switchyard.queue import DEFAULT_QUEUE, EVERYTHING_ELSE, RUN_TIME_KEYS, SHAPE_KEYS, Queue

#: Seconds a task that ended at its limit has to be recorded and acknowledged before it is taken for lost.
STALL_MARGIN = 15
#: Seconds; kombu's default, which retries and countdowns of somebody's tasks may rely on.
CELERYS_VISIBILITY_TIMEOUT = 3600
#: Tasks that come with Celery or the core; they are routed by whoever publishes them.
OWN_TASKS = ("celery.*", "switchyard.*")

_NAME = re.compile(r"[a-z][a-z0-9_]*")


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
        """Seconds after which the stock transport gives an unacknowledged message to another worker: Celery's own hour,
        or longer than any message may be held, or its task would run twice. One value for the whole fleet.
        """
        held = max(q.chunk_time_limit * max(q.prefetch_multiplier, 1) for q in self.by_name.values())
        return max(CELERYS_VISIBILITY_TIMEOUT, held + STALL_MARGIN)

    @property
    def stalled_after(self) -> float:
        """Seconds without progress after which nothing can be at work on a workflow any more."""
        return max(queue.chunk_time_limit for queue in self.by_name.values()) + STALL_MARGIN

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


def load(config_dir: Path, overrides: Mapping[str, Mapping[str, str]], *, amended: bool = True) -> Queues:
    """Queues from `config_dir`/queues.toml, `amended` by queues.local.toml beside it. Raises ConfigError."""
    source, amendment = _read(config_dir / "queues.toml"), config_dir / "queues.local.toml"
    local = _read(amendment) if amended and amendment.exists() else {}
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
