"""The limit: a loop in one process, or two, without a queue. `python -m bench.fan_out.bare gevent|asyncio AT_ONCE PROCESSES`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from bench.fan_out import common, lean

Results = list[dict[str, Any]]


def by_gevent(items: Iterable[int], at_once: int) -> Results:
    import gevent
    from bench.fan_out import work

    left, results = iter(items), Results()

    def run() -> None:
        for number in left:
            results.append(work.update(number))

    gevent.joinall([gevent.spawn(run) for _ in range(at_once)], raise_error=True)
    return results


def by_asyncio(items: Iterable[int], at_once: int) -> Results:
    import uvloop

    left, results = iter(items), Results()

    async def run() -> None:
        for number in left:
            results.append(await lean.update(number))

    async def all_of_them() -> None:
        await asyncio.gather(*(run() for _ in range(at_once)))

    uvloop.run(all_of_them())
    return results


def main(way: str, at_once: int, processes: int) -> None:
    """A second process has half of the items, and hands its results over by a pipe."""
    run = {"gevent": by_gevent, "asyncio": by_asyncio}[way]
    items = range(1, int(os.environ[common.ITEMS]) + 1)
    reader, writer = os.pipe()
    if way == "gevent":
        import_module("bench.fan_out.work")  # loaded before it begins, and not before it is patched
    if way == "gevent" and processes == 1:
        run(range(1, at_once + 1), at_once)  # as the workers of other ways, it has its connections
    common.begin()
    if processes == 2 and os.fork() == 0:
        os.write(writer, b"%d" % len(run(items[1::2], at_once // 2)))
        os._exit(0)
    found = len(run(items[::processes], at_once // processes))
    if processes == 2:
        found += int(os.read(reader, 100))
    common.done(found)


if __name__ == "__main__":
    if sys.argv[1] == "gevent":
        from gevent import monkey

        monkey.patch_all()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
