"""Seeds the store: the data set or someone's CSV comes in, products go out to the store, counts to the terminal."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import urllib3
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo.data_set import count_products, read_products
from demo.errors import SeedError
from demo.product import COLUMNS, Product
from demo.product_csv import Refusal, open_csv
from demo.settings import demo_settings, stand_in
from demo.store import store
from switchyard.errors import SwitchyardError

#: Products between two lines of progress where there is no terminal.
LINE_EVERY = 20_000
#: What a shell expects of a program that was stopped by Ctrl-C.
RET_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Seed as the command line says; returns the exit code, 1 with a sentence on stderr when nothing was kept."""
    chosen = _parse(arguments)
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    try:
        kept, refused = seed(console, chosen.file, chosen.limit)
        if kept == 0:
            raise SeedError(f"No product was kept, {refused} refused. Correct the rows and run this again.")
    except SwitchyardError as exc:
        console.print(str(exc))
        return 1
    except KeyboardInterrupt:
        console.print("Stopped. What is stored stays; run this again to store the rest.")
        return RET_INTERRUPTED
    print(f"kept {kept}, refused {refused}")
    _tell_supplier(console)
    return 0


def seed(console: Console, file: Path | None = None, limit: int | None = None) -> tuple[int, int]:
    """Store the products of `file`, or of the data set, or the first `limit`; returns how many it kept and refused.

    Raises SeedError when there is nothing to read, StoreError when there is nowhere to store.
    """
    refusals: list[Refusal] = []
    if file is None:
        total = min(count_products(), limit or sys.maxsize)
        return _store_all(read_products(limit), total, console), 0
    kept = _store_all(islice(_kept(file, console, refusals), limit), limit, console)
    return kept, len(refusals)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="seed_products", description="Put products into the store; safe to run again.", allow_abbrev=False
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="the first N products only")
    parser.add_argument(
        "--file", type=Path, help=f"a CSV file instead of the data set; its header names some of {', '.join(COLUMNS)}"
    )
    return parser.parse_args(arguments)


def _positive(value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < sys.maxsize:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from 1")
    return int(value)


def _kept(file: Path, console: Console, refusals: list[Refusal]) -> Iterator[Product]:
    """The products of a CSV file; what is refused is said at once and added to `refusals`."""
    source = open_csv(file)
    if source.ignored:
        console.print(f"Columns that describe no product are ignored: {', '.join(source.ignored)}")
    for row in source.rows():
        if isinstance(row, Refusal):
            refusals.append(row)
            console.print(f"line {row.line}: {row.reason}")
        else:
            yield row


def _store_all(products: Iterable[Product], total: int | None, console: Console) -> int:
    columns = (TextColumn("seeding"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    kept = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("seeding", total=total)
        for stored in store().seed(products):
            kept += stored
            progress.advance(bar, stored)
            if not console.is_terminal and kept % LINE_EVERY == 0:
                console.print(f"seeded {kept} of {total or 'unknown'}")
    return kept


def _tell_supplier(console: Console) -> None:
    # A supplier that kept its old catalogue would undo these rows at the next refresh.
    url = stand_in(demo_settings().supplier_host, demo_settings().supplier_port)
    try:
        reply = urllib3.request("POST", f"{url}/reload", retries=False, timeout=30.0)
    except urllib3.exceptions.HTTPError:
        return  # it does not run, and reads the store when it starts
    if reply.status == 200:
        console.print(f"The supplier now serves {json.loads(reply.data)['products']} products.")
    else:
        console.print(f"The supplier at {url} was not told. Restart it.")


if __name__ == "__main__":
    sys.exit(main())
