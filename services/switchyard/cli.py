"""python -m switchyard …: what the make targets call. Arguments in, one module's work and an exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from switchyard import working
from switchyard.console import REFUSED, err, out
from switchyard.errors import ConfigError, SwitchyardError
from switchyard.settings import ROOT, settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Every expected failure is a sentence on standard error and a non-zero exit."""
    try:
        given = sys.argv[1:] if arguments is None else list(arguments)
        found = _parser().parse_args(given)
        return int(_elsewhere(found, given) if found.inside else found.run(found) or 0)
    except SwitchyardError as exc:
        _say_refused(str(exc))
        return REFUSED
    except KeyboardInterrupt:
        return 130


def _elsewhere(found: argparse.Namespace, given: Sequence[str]) -> int:
    """Run a command where Redis is reached. With containers that is another process, which this one waits for."""
    from switchyard.runtime import choice, preflight, runtime  # noqa: PLC0415  as below

    config = settings()
    if choice.used(config.state_dir, config.runtime) == choice.LOCAL:
        return int(found.run(found) or 0)
    with preflight.alone(config) if found.alone else nullcontext():
        return runtime(config).run_inside(config, "switchyard", given)


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

    def add(
        name: str,
        run: Callable[[argparse.Namespace], int | None],
        text: str,
        *,
        inside: bool = False,
        alone: bool = False,
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run, inside=inside, alone=alone)
        return command

    add("up", _up, "bring the deployment up and wait until all of it is ready")
    add("down", _down, "stop the deployment; nothing is lost")
    add("ps", _ps, "what runs, since when, and what waits")
    add("logs", _logs, "the logs of one queue or of everything").add_argument("name", nargs="?")
    add("restart", _restart, "restart one queue's worker").add_argument("name", nargs="?")
    add("doctor", _doctor, "what this machine and this checkout lack, and how to mend it")
    add("base-images", _base_images, "build the images that the deployment's are made of, where no registry answers")
    add("demo", _demo, "bring everything up if it is not, and run the demo")
    run = add("run", _run, "run a Python module where Redis is reached")
    run.add_argument("module")
    run.add_argument("arguments", nargs=argparse.REMAINDER)
    add("counts", _counts, "what waits and runs, as JSON").add_argument("programs", nargs="*")
    start = add("start", working.start, "start a workflow by its task's name and show its progress", inside=True)
    start.add_argument("task", nargs="?")
    start.add_argument("arguments", nargs="*", metavar="key=value")
    report = add("report", working.report, "make a report, show its progress and say where it is", inside=True)
    report.add_argument("name", nargs="?")
    report.add_argument("arguments", nargs="*", metavar="parameter=value")
    add("new-report", _new_report, "write the beginnings of a report: module, test, table").add_argument(
        "name", nargs="?"
    )
    workflow = add("workflow", working.workflow, "a workflow's state, and which of its items failed", inside=True)
    workflow.add_argument("id", nargs="?")
    cancel = add("cancel", working.cancel, "end a workflow: nothing of it starts any more", inside=True)
    cancel.add_argument("id", nargs="?")
    replay = add(
        "replay", working.replay, "run again what of a workflow has failed, and show its progress", inside=True
    )
    replay.add_argument("id", nargs="?")
    refused = add("refused", working.refused, "events that could not be taken, and why", inside=True, alone=True)
    then = refused.add_mutually_exclusive_group()
    then.add_argument("--retry", action="store_true", help="put them back into the broker's queue")
    then.add_argument("--drop", action="store_true", help="remove them")
    letters = add(
        "dead-letters", working.dead_letters, "tasks that failed for good, and why: run again, or dropped", inside=True
    )
    letters.add_argument("do", nargs="?", choices=("list", "show", "replay", "drop"), default="list")
    letters.add_argument("ids", nargs="*", metavar="id", help="a letter's id, or its task's")
    letters.add_argument("--all", action="store_true", help="all that are kept now")
    letters.add_argument("--queue", help="only those of this queue")
    delayed = add("delayed", working.delayed, "messages that are not due yet", inside=True)
    delayed.add_argument(
        "--release", action="store_true", help="give them to stock workers now, which hold them until they are due"
    )
    add("render", _render, "write what is derived from queues.toml").add_argument("--check", action="store_true")
    for name, text in (("worker", "become the worker of QUEUE"), ("producer", "be the HTTP door"),
                       ("consumer", "take in the broker's events, start what was accepted"), ("clock", "be the clock"),
                       ("flower", "become the monitor"), ("redis", "become the Redis server")):  # fmt: skip
        add(name, _program, text).set_defaults(name=name)
    return parser


def _up(_: argparse.Namespace) -> None:
    from switchyard.events.config import load  # noqa: PLC0415  each command imports what it needs: a prompt is waiting
    from switchyard.routing import current_queues  # noqa: PLC0415
    from switchyard.runtime import not_both, runtime  # noqa: PLC0415

    config, queues = settings(), current_queues()
    # With events that are refused no door would start again; what runs is left alone.
    if untaken := queues.untaken(load(config.config_dir, queues.reports.values()).workflows):
        raise ConfigError("\n".join(untaken))
    not_both(config)
    runtime(config, choosing=True).up(config, queues, _step)
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
    out.print("  try next     make ps, make logs" + (", make demo" if config.demo else ""), markup=False)


def _down(_: argparse.Namespace) -> None:
    from switchyard.runtime import runtime  # noqa: PLC0415

    stopped = runtime(settings()).down(settings(), _step)
    out.print(
        "Stopped. Queues and products are kept; `make up` goes on from here." if stopped else "Nothing was running."
    )


def _ps(_: argparse.Namespace) -> int:
    from switchyard.runtime import runtime  # noqa: PLC0415

    rows, kept = runtime(settings()).rows(settings())
    table = Table("program", "state", "pid", "up", "waiting", "oldest", "held", "delayed", box=None, pad_edge=False)
    for row in rows:
        numbers = (row.waiting, None if row.oldest_s is None else f"{row.oldest_s:.0f} s", row.held, row.delayed)
        shown = ("" if number is None else str(number) for number in numbers)
        table.add_row(row.name, row.state, str(row.pid or ""), f"{row.uptime_s} s" if row.pid else "", *shown)
    # As wide as it is: a name that is cut in two cannot be read, by people or by scripts.
    Console(file=out.file, width=max(out.width, 120), highlight=False).print(table)
    for sentence in kept:
        out.print(sentence)
    return 0 if all(row.state == "ready" for row in rows) else REFUSED


def _logs(found: argparse.Namespace) -> None:
    from switchyard.runtime import runtime  # noqa: PLC0415

    for name, line in runtime(settings()).log_lines(settings(), found.name, follow=out.is_terminal):
        if not found.name:
            out.print(f"{name.removeprefix('worker-'):<16} ", style="cyan", end="", markup=False)
        out.print(line, markup=False)


def _restart(found: argparse.Namespace) -> None:
    from switchyard.runtime import runtime  # noqa: PLC0415

    if not found.name:
        raise SwitchyardError("Which queue? Say `make restart Q=<name>`; `make ps` lists them.")
    runtime(settings()).restart(settings(), found.name, _step)


def _doctor(_: argparse.Namespace) -> int:
    from switchyard.runtime import doctor  # noqa: PLC0415

    findings = doctor.look(settings())
    for finding in findings:
        out.print(
            "  ok    " if finding.mend is None else "  mend  ", style="green" if finding.mend is None else "red", end=""
        )
        out.print(finding.text if finding.mend is None else f"{finding.text} {finding.mend}", markup=False)
    return REFUSED if any(finding.mend is not None for finding in findings) else 0


def _base_images(_: argparse.Namespace) -> None:
    from switchyard.runtime.docker import base_images  # noqa: PLC0415

    base_images.build(_step)


def _demo(_: argparse.Namespace) -> int:
    from switchyard.runtime import runtime  # noqa: PLC0415

    config = settings()
    if not config.demo:
        raise SwitchyardError("DEMO is 0 in .env, so the demo's supplier and products are not there. Set DEMO=1.")
    if not runtime(config, choosing=True).is_up(config) and (code := main(["up"])):
        return code
    return runtime(config).run_inside(config, "demo", [])


def _run(found: argparse.Namespace) -> int:
    from switchyard.runtime import runtime  # noqa: PLC0415

    return runtime(settings()).run_inside(settings(), found.module, found.arguments)


def _counts(found: argparse.Namespace) -> None:
    from switchyard.runtime import counts  # noqa: PLC0415

    print(counts.read(found.programs).as_json())


def _new_report(found: argparse.Namespace) -> None:
    from switchyard.reports import scaffold  # noqa: PLC0415

    if not found.name:
        raise SwitchyardError("Which name? Say `make new-report NAME=returns`.")
    for path in scaffold.write(settings(), found.name):
        out.print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}", markup=False)
    out.print(f"  try it     make up && make report R={found.name}", markup=False)


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
