"""python -m switchyard …: what the make targets call. Arguments in, one module's work and an exit code out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from switchyard.errors import ConfigError, SwitchyardError
from switchyard.settings import ROOT, settings

#: Exit codes: refused with a sentence; a workflow that ended without success.
REFUSED, UNSUCCESSFUL = 1, 2

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Every expected failure is a sentence on standard error and a non-zero exit."""
    try:
        found = _parser().parse_args(arguments)
        return int(found.run(found) or 0)
    except SwitchyardError as exc:
        _say_refused(str(exc))
        return REFUSED
    except KeyboardInterrupt:
        return 130


def _say_refused(message: str) -> None:
    err.print("error: ", style="bold red", end="")
    err.print(message, markup=False)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Refuse as everything else does; argparse's own exit code, 2, means something else here."""
        raise SwitchyardError(f"{message}. {self.format_usage().strip()}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m switchyard", description="What `make` calls; see `make help`.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    add("up", _up, "bring the deployment up and wait until all of it is ready")
    add("down", _down, "stop the deployment; nothing is lost")
    add("ps", _ps, "what runs, since when, and what waits")
    add("logs", _logs, "the logs of one queue or of everything").add_argument("name", nargs="?")
    add("restart", _restart, "restart one queue's worker").add_argument("name", nargs="?")
    start = add("start", _start, "start a workflow by its task's name and show its progress")
    start.add_argument("task", nargs="?")
    start.add_argument("arguments", nargs="*", metavar="key=value")
    report = add("report", _report, "make a report, show its progress and say where it is")
    report.add_argument("name", nargs="?")
    report.add_argument("arguments", nargs="*", metavar="parameter=value")
    add("new-report", _new_report, "write the beginnings of a report: module, test, table").add_argument(
        "name", nargs="?"
    )
    add("workflow", _workflow, "a workflow's state, and which of its items failed").add_argument("id", nargs="?")
    refused = add("refused", _refused, "events that could not be taken, and why").add_mutually_exclusive_group()
    refused.add_argument("--retry", action="store_true", help="put them back into the broker's queue")
    refused.add_argument("--drop", action="store_true", help="remove them")
    add("render", _render, "write what is derived from queues.toml").add_argument("--check", action="store_true")
    for name, text in (("worker", "become the worker of QUEUE"), ("producer", "be the HTTP door"),
                       ("consumer", "take in the broker's events, start what was accepted"), ("clock", "be the clock"),
                       ("flower", "become the monitor"), ("redis", "become the Redis server")):  # fmt: skip
        add(name, _program, text).set_defaults(name=name)
    return parser


def _up(_: argparse.Namespace) -> None:
    from switchyard.events.config import load  # noqa: PLC0415  each command imports what it needs: a prompt is waiting
    from switchyard.routing import current_queues  # noqa: PLC0415
    from switchyard.runtime import local  # noqa: PLC0415

    config, queues = settings(), current_queues()
    # With events that are refused no door would start again; what runs is left alone.
    if untaken := queues.untaken(load(config.config_dir, queues.reports.values()).workflows):
        raise ConfigError("\n".join(untaken))
    local.up(config, queues, _step)
    _say_what_next()


def _step(text: str) -> None:
    out.print(f"  {text}", markup=False)


def _say_what_next() -> None:
    config = settings()
    out.print("[bold green]Everything is ready.[/]")
    out.print(f"  HTTP door    http://127.0.0.1:{config.api_port}/v1", markup=False)
    out.print(f"  token        {config.api_tokens_file}  (name:token)", markup=False)
    out.print(f"  Flower       http://127.0.0.1:{config.flower_port}", markup=False)
    out.print(f"  credentials  {config.secret_file('flower_basic_auth')}  (user:password)", markup=False)
    out.print(f"  logs         {config.state_dir / 'logs'}", markup=False)
    out.print("  try next     make ps, make logs" + (", make demo" if config.demo else ""), markup=False)


def _down(_: argparse.Namespace) -> None:
    from switchyard.runtime import local  # noqa: PLC0415

    stopped = local.down(settings(), _step)
    out.print(
        "Stopped. Queues and products are kept; `make up` goes on from here." if stopped else "Nothing was running."
    )


def _ps(_: argparse.Namespace) -> int:
    from switchyard.runtime import status  # noqa: PLC0415

    rows = status.rows(settings())
    table = Table("program", "state", "pid", "up", "waiting", box=None, pad_edge=False)
    for row in rows:
        waiting = "" if row.waiting is None else str(row.waiting)
        table.add_row(row.name, row.state, str(row.pid or ""), f"{row.uptime_s} s" if row.pid else "", waiting)
    out.print(table)
    if said := status.refused_events(settings()):
        out.print(said)
    return 0 if all(row.state == "ready" for row in rows) else REFUSED


def _logs(found: argparse.Namespace) -> None:
    from switchyard.runtime import local, logfiles  # noqa: PLC0415

    config = settings()
    supervisor = local.running_supervisor(config)
    names = [local.resolve(supervisor, found.name)] if found.name else [p.name for p in supervisor.programs()]
    files = {name: local.log_file(config, name) for name in names}
    for name, file in files.items():
        for line in logfiles.tail(file, 100 if found.name else 10):
            _log_line(name, line, files)
    if out.is_terminal:
        for name, line in logfiles.follow(files):
            _log_line(name, line, files)


def _log_line(name: str, line: str, files: dict[str, Path]) -> None:
    if len(files) > 1:
        out.print(f"{name.removeprefix('worker-'):<16} ", style="cyan", end="", markup=False)
    out.print(line, markup=False)


def _restart(found: argparse.Namespace) -> None:
    from switchyard.runtime import local  # noqa: PLC0415

    if not found.name:
        raise SwitchyardError("Which queue? Say `make restart Q=<name>`; `make ps` lists them.")
    local.restart(settings(), found.name, _step)


def _start(found: argparse.Namespace) -> int:
    from switchyard import progress, workflows  # noqa: PLC0415
    from switchyard.producer import app  # noqa: PLC0415

    if not found.task:
        raise SwitchyardError("Which workflow? Say `make start W=<task>`, the task that fans it out.")
    workflow_id = workflows.start(app, found.task, **_keywords(found.arguments))
    out.print(f"workflow {workflow_id}", markup=False)
    return _say_end(progress.follow(workflow_id, out))


def _keywords(arguments: Sequence[str]) -> dict[str, object]:
    import json  # noqa: PLC0415

    found: dict[str, object] = {}
    for argument in arguments:
        key, value = _split(argument, "limit=100")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _split(argument: str, example: str) -> tuple[str, str]:
    key, equals, value = argument.partition("=")
    if not equals or not key.isidentifier():
        raise SwitchyardError(f"{argument!r} is no argument; expected key=value, such as {example}.")
    return key, value


def _report(found: argparse.Namespace) -> int:
    from switchyard.producer import app  # noqa: PLC0415
    from switchyard.reports import run  # noqa: PLC0415
    from switchyard.routing import current_queues  # noqa: PLC0415

    queues = current_queues()
    if not found.name or "=" in found.name:
        known = ", ".join(queues.reports) or "none yet: `make new-report NAME=<name>` writes one"
        raise SwitchyardError(f"Which report? Say `make report R=<name>`. There are: {known}.")
    report = queues.report(found.name)
    parameters = dict(_split(argument, "period=2017-05") for argument in found.arguments)
    workflow_id = run.start(app, report, parameters)
    out.print(f"workflow {workflow_id}", markup=False)
    return 0 if run.follow({report.name: workflow_id}, out) else UNSUCCESSFUL


def _new_report(found: argparse.Namespace) -> None:
    from switchyard.reports import scaffold  # noqa: PLC0415

    if not found.name:
        raise SwitchyardError("Which name? Say `make new-report NAME=returns`.")
    for path in scaffold.write(settings(), found.name):
        out.print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}", markup=False)
    out.print(f"  try it     make up && make report R={found.name}", markup=False)


def _workflow(found: argparse.Namespace) -> int:
    if not found.id:
        raise SwitchyardError("Which workflow? Say `make workflow W=<id>`; the id is printed when it starts.")
    with _redis_needed():
        return _show(found.id)


def _show(workflow_id: str) -> int:
    from switchyard import workflows  # noqa: PLC0415

    meta = workflows.read(workflow_id)
    out.print(f"{meta.name} {meta.id}: {meta.state}, attempt {meta.attempt}, {meta.done} of {meta.total} done, {meta.failed} failed",
              markup=False)  # fmt: skip
    if meta.event_id:
        out.print(f"  event: {meta.event_type} {meta.event_id!r} from {meta.event_source}", markup=False)
    for item, result in workflows.failed_items(workflow_id):
        out.print(f"  failed: {item!r}: {result}", markup=False)
    return _say_end(meta) if meta.ended else 0


def _refused(found: argparse.Namespace) -> None:
    from switchyard.runtime import refused_events  # noqa: PLC0415

    with _redis_needed():
        if found.retry:
            out.print(f"Sent again: {refused_events.retry(settings()):,}. What is refused again is kept again.")
        elif found.drop:
            out.print(f"Dropped: {refused_events.drop(settings()):,}.")
        else:
            texts = list(refused_events.shown())
            for text in texts:
                out.print(text, markup=False)
            out.print("Then: make refused DO=retry, or DO=drop" if texts else "No refused event is kept.")


@contextmanager
def _redis_needed() -> Iterator[None]:
    import redis  # noqa: PLC0415

    try:
        yield
    except redis.RedisError as exc:
        raise SwitchyardError(f"Redis does not answer ({exc}). Is it up? `make ps`") from exc


def _say_end(meta: object) -> int:
    result, reason, state = (getattr(meta, key) for key in ("result", "reason", "state"))
    out.print(f"{state}: {result if state == 'done' and result is not None else reason or result}", markup=False)
    return 0 if state == "done" and not (isinstance(result, dict) and result.get("status") is False) else UNSUCCESSFUL


def _render(found: argparse.Namespace) -> int:
    from switchyard import render  # noqa: PLC0415
    from switchyard.events.config import load  # noqa: PLC0415
    from switchyard.render.tasks import refusals  # noqa: PLC0415
    from switchyard.routing import current_queues  # noqa: PLC0415

    config, queues = settings(), current_queues()
    workflows = load(config.config_dir, queues.reports.values()).workflows
    if problems := refusals(config, queues, workflows):
        raise ConfigError("\n".join(problems))
    if found.check:
        if stale := render.stale(config.config_dir):
            raise ConfigError(
                f"stale: {', '.join(render.name(p, config.config_dir) for p in stale)}. Run `make render`."
            )
        out.print("Everything rendered is what config/queues.toml says.")
        return 0
    for path in render.write(config.config_dir):
        out.print(f"wrote {render.name(path, config.config_dir)}", markup=False)
    out.print("Up to date. `make up` applies it.")
    return 0


def _program(found: argparse.Namespace) -> None:
    from switchyard.runtime import programs  # noqa: PLC0415

    programs.run(settings(), found.name)
