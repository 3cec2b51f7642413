"""config/queues.toml in; queues, routes and limits out. Pure but for reading that file, and the place of every refusal."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from switchyard.errors import ConfigError, refusal
from switchyard.queue import DEFAULT_QUEUE, EVENTS_QUEUE, EVERYTHING_ELSE, RUN_TIME_KEYS, SHAPE_KEYS, Queue
from switchyard.report import DERIVED_KEYS, QUEUE_KEYS, REPORT_KEYS, Report

#: Seconds a task that ended at its limit has to be recorded and acknowledged before it is taken for lost.
STALL_MARGIN = 15
#: Seconds; kombu's default, which retries and countdowns of somebody's tasks may rely on.
CELERYS_VISIBILITY_TIMEOUT = 3600
#: Tasks that come with Celery or the core; they are routed by whoever publishes them.
OWN_TASKS = ("celery.*", "switchyard.*")

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TABLES = ("defaults", "queues", "reports")


class Queues(BaseModel):
    """Every queue of the deployment by name, the default queue always among them; and the reports some are derived from."""

    model_config = ConfigDict(frozen=True)

    by_name: Mapping[str, Queue]
    reports: Mapping[str, Report] = {}

    def __getitem__(self, name: str) -> Queue:
        if name not in self.by_name:
            raise ConfigError(f"There is no queue {name!r}. {expected(name, self.by_name)}")
        return self.by_name[name]

    def report(self, name: str) -> Report:
        """The report of this name. Raises ConfigError."""
        if name not in self.reports:
            raise ConfigError(f"There is no report {name!r}. {expected(name, self.reports)}")
        return self.reports[name]

    def report_of(self, queue: str) -> Report | None:
        """The report that this queue is derived from."""
        return next((report for report in self.reports.values() if queue in report.queues), None)

    def routes(self) -> dict[str, dict[str, str]]:
        """Celery's `task_routes`: what the default queue takes needs no route."""
        return {glob: {"queue": queue.name} for queue in self.by_name.values() for glob in queue.tasks
                if queue.name != DEFAULT_QUEUE}  # fmt: skip

    def queue_of(self, task: str) -> str:
        """The queue that takes this task."""
        if (found := self.taken.get(task)) is None:
            others = (q for q in self.by_name.values() if q.name != DEFAULT_QUEUE)
            found = self.taken[task] = next((q.name for q in others if q.takes(task)), DEFAULT_QUEUE)
        return found

    @cached_property
    def taken(self) -> dict[str, str]:
        """Which queue takes a task that was asked for before: else each message that is published costs a glob for each queue."""
        return {}

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

    def refusals(self, tasks: Iterable[str], workflows: Mapping[str, str] | None = None) -> list[str]:
        """What is wrong between the globs, the tasks that really exist, and the workflows that events start: one sentence each.

        Workflows come as key of the configuration = task.
        """
        names = sorted(task for task in tasks if not any(fnmatchcase(task, own) for own in OWN_TASKS))
        missing = [f"{key}: the app has no task {task!r}. {expected(task, names)}"
                   for key, task in (workflows or {}).items() if task not in names]  # fmt: skip
        return [*self._globs_without_tasks(names), *self._tasks_without_one_queue(names), *missing]

    def untaken(self, workflows: Mapping[str, str]) -> list[str]:
        """A sentence for each workflow that no queue takes, as far as that can be told without the app."""
        globs = [glob for queue in self.by_name.values() for glob in queue.tasks]
        return [f"{key}: no queue takes the task {task!r}; add it to a queue's tasks. {expected(task, globs)}"
                for key, task in workflows.items() if not any(fnmatchcase(task, glob) for glob in globs)]  # fmt: skip

    def _globs_without_tasks(self, names: list[str]) -> Iterable[str]:
        for queue in self.by_name.values():
            for glob in queue.tasks:
                if not any(fnmatchcase(name, glob) for name in names):
                    yield f"queues.{queue.name}.tasks: {glob!r} matches no task. {expected(glob, names)}"

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
    _refuse([f"{where}: {key!r} is no table here. {expected(key, _TABLES)}" for key in source if key not in _TABLES])
    _refuse([f"{where}: {key}: expected a table, got {source[key]!r}."
             for key in _TABLES if not isinstance(source.get(key, {}), Mapping)])  # fmt: skip
    problems: list[str] = []
    reports = dict(_reports(source.get("reports", {}), where, problems))
    derived = {name: (f"{where}: reports.{report.name}.", table) for report in reports.values()
               for name, table in report.queue_tables(_of_queue(source["reports"][report.name])).items()}  # fmt: skip
    names = dict.fromkeys([DEFAULT_QUEUE, *source.get("queues", {}), *derived])
    problems += _override_problems(overrides, names)
    queues = {}
    for name in names:
        own = source.get("queues", {}).get(name, {})
        if not isinstance(own, Mapping):
            problems.append(f"{where}: queues.{name}: expected a table of keys, got {own!r}.")
            continue
        if name not in derived and (bad := bad_name(name)):
            problems.append(f"{where}: queues.{name}: {bad}")
            continue
        if name == EVENTS_QUEUE:
            problems.append(
                f"{where}: queues.{name}: events from other applications wait in the queue of this name; take another."
            )
            continue
        if name in derived:
            problems += [f"{where}: queues.{name}.{key}: its report decides it; remove the key." for key in own if key in DERIVED_KEYS]  # fmt: skip
        layers = [(f"{where}: defaults.", source.get("defaults", {})), *([derived[name]] if name in derived else []),
                  (f"{where}: queues.{name}.", own), (f"QUEUES__{name.upper()}__", overrides.get(name, {}))]  # fmt: skip
        merged = _merged(*(table for _, table in layers))
        try:
            queues[name] = Queue(**{**merged, "name": name})
        except ValidationError as exc:
            problems += [_sentence(_place(layers, error), error) for error in exc.errors()]
        if "name" in merged and name not in derived:
            error = {"type": "extra_forbidden", "loc": ("name",)}
            problems.append(_sentence(_place(layers, error), error))
    _refuse(problems)
    return Queues(by_name=queues, reports=reports)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def _reports(tables: Mapping[str, Any], where: str, problems: list[str]) -> Iterable[tuple[str, Report]]:
    """Each report that is one; what is wrong with the others goes to `problems`."""
    for name, table in tables.items():
        place = f"{where}: reports.{name}"
        if not isinstance(table, Mapping):
            problems.append(f"{place}: expected a table of keys, got {table!r}.")
        elif bad := bad_name(f"{name}_report_queue"):  # a name that ends in _ would make __ of it
            problems.append(f"{place}: {bad}")
        else:
            unknown = [key for key in table if key not in (*REPORT_KEYS, *QUEUE_KEYS)]
            problems += [f"{place}.{key}: unknown key. {expected(key, (*REPORT_KEYS, *QUEUE_KEYS))}" for key in unknown]
            try:
                yield name, Report(**{key: table[key] for key in REPORT_KEYS if key in table}, name=name)
            except ValidationError as exc:
                problems += [_sentence(f"{place}.{error['loc'][0]}", error) for error in exc.errors()]


def _of_queue(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a report's table says of its queues."""
    return {key: value for key, value in report.items() if key in QUEUE_KEYS}


def bad_name(name: str) -> str | None:
    """What is wrong with the name of a queue or report, or None; Redis keys, environment variables and files are made of it."""
    if _NAME.fullmatch(name) and "__" not in name:
        return None
    return "bad name; expected a-z, 0-9 and single _, starting with a letter."


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
    source, amendment = read_toml(config_dir / "queues.toml"), config_dir / "queues.local.toml"
    local = read_toml(amendment) if amended and amendment.exists() else {}
    where = "queues.toml with queues.local.toml" if local else "queues.toml"
    return parse(_amended(source, local), overrides, where=where)


def _amended(source: Mapping[str, Any], local: Mapping[str, Any], depth: int = 2) -> dict[str, Any]:
    """`source` with the keys of `local`: two tables of one name are one table. `parse` refuses what is no table."""
    both = {key for key in local if depth and isinstance(source.get(key), dict) and isinstance(local[key], dict)}
    return {**source, **local, **{key: _amended(source[key], local[key], depth - 1) for key in both}}


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of one of our files. Raises ConfigError."""
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
                yield f"{variable}: there is no queue {name!r}. {expected(name, tables)}"
            elif key in SHAPE_KEYS:
                yield f"{variable}: {key!r} is shape; it comes from queues.toml or queues.local.toml, not the environment."


def _place(layers: Sequence[tuple[str, Mapping[str, Any]]], error: Any) -> str:
    """The key to mend: where the refused value was given last, or else in the queue's own table."""
    key, first = ".".join(str(part) for part in error["loc"]), str(error["loc"][0])
    prefix = next((prefix for prefix, table in reversed(layers) if first in table), layers[-2][0])
    return f"{prefix}{key.upper() if prefix.startswith('QUEUES__') else key}"


def _sentence(place: str, error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown key. {expected(str(error['loc'][0]), (*SHAPE_KEYS, *RUN_TIME_KEYS))}"
    return f"{place}: {refusal(error)}."


def expected(word: str, known: Iterable[str]) -> str:
    """The next step for a word that is none of the known ones: the one that was probably meant, or all of them."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Expected one of: {', '.join(sorted(known)) or 'none'}."
