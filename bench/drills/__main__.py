"""python -m bench.drills: runs drills one after another, prints one table, and ends with 1 if a promise was not kept."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.drills.kind import Kind, Options, Skipped
from bench.drills.kinds import KINDS
from bench.drills.outcome import Outcome, complaints, table
from bench.drills.running import drill
from bench.drills.site import LEASE
from rich.console import Console
from rich.status import Status

from switchyard.errors import SwitchyardError
from switchyard.runtime.redis_server import find_server

out = Console(highlight=False)


def options_for(kind: Kind, chosen: argparse.Namespace) -> Options:
    """The size of one drill, as asked for."""
    full = chosen.full
    options = Options(
        pools=tuple(pool for pool in kind.pools if pool in chosen.pools),
        rounds=kind.rounds[full] if chosen.rounds is None else chosen.rounds,
        fsync=chosen.fsync,
    )
    if full:
        options = replace(options, messages=100_000, pause=60.0, leases=10.0, items=1_000, delayed=10_000, spread=60.0)
    return options if chosen.messages is None else replace(options, messages=chosen.messages)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line. Ends the process for what it refuses."""
    pools = ("solo", "threads", "gevent", "prefork")
    parser = argparse.ArgumentParser(prog="python -m bench.drills", description="Kill things under load, and count what was lost.")  # fmt: skip
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this drill; may be given again")
    parser.add_argument("--list", action="store_true", help="say what each kind does, and run none")
    parser.add_argument("--pools", nargs="+", choices=pools, default=pools, metavar="POOL", help="only these pools")
    parser.add_argument("--rounds", "--kills", type=int, help="blows of each drill, over all of its pools")
    parser.add_argument("--messages", type=int, help="tasks of the flood")
    parser.add_argument("--full", action="store_true", help="the large form, which takes hours; the short one takes minutes")  # fmt: skip
    parser.add_argument("--fsync", choices=("everysec", "always"), default="everysec", help="Redis' appendfsync")
    parser.add_argument("--stock", action="store_true", help="run each on the stock transport, too")
    parser.add_argument("--stock-only", action="store_true", help="run each on the stock transport alone")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep logs, ledgers and Redis' files in this new folder"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Run what was asked for; 1 if a promise of the leased transport was not kept, or a drill could not run to its end."""
    chosen = parsed()
    if chosen.list:
        for kind in KINDS.values():
            out.print(f"{kind.name:13} {kind.sentence}", soft_wrap=True)
        return 0
    outcomes: list[Outcome] = []
    try:
        find_server()
        complete = run(chosen, outcomes)
    except SwitchyardError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        complete = False
    if outcomes:
        # Into a file, too, a row is a line.
        Console(highlight=False, width=max(out.width, 170)).print(table(outcomes))
        out.print(
            f"({os.cpu_count()} cores, Python {platform.python_version()}; a lease is {LEASE:g} s, and so is the stock "
            "transport's visibility timeout)",
            soft_wrap=True,
        )
    for complaint in complaints(outcomes):
        out.print(complaint, soft_wrap=True)
    return 0 if complete and not complaints(o for o in outcomes if o.transport == "leased") else 1


def run(chosen: argparse.Namespace, outcomes: list[Outcome]) -> bool:
    """Run the drills one after another and add what they count to `outcomes`; whether each ran to its end."""
    transports = ["stock"] if chosen.stock_only else ["stock", "leased"] if chosen.stock else ["leased"]
    complete = True
    for name in chosen.kind or KINDS:
        options = options_for(KINDS[name], chosen)
        for transport in transports if options.pools else ():
            try:
                with out.status(f"{name}, {transport}") as status:
                    outcomes += drill(
                        KINDS[name], transport, options, partial(_show, status, name, transport), chosen.keep
                    )
            except Skipped as exc:
                out.print(f"{name} is skipped: {exc}")
                break
            except SwitchyardError as exc:
                print(f"error: {name}, {transport}: {exc}", file=sys.stderr)
                complete = False
    return complete


def _show(status: Status, name: str, transport: str, text: str) -> None:
    status.update(f"{name}, {transport}: {text}")


if __name__ == "__main__":
    sys.exit(main())
