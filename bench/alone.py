"""A bench's short form in a process of its own: what is connected to its Redis is not to be used with the next one's."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context

from bench.section import Section


def short(name: str) -> Section:
    """What `bench.<name>` has found. Raises SwitchyardError when nothing could be measured."""
    # Its process imports this module, as it could not `bench.__main__`.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_short, name).result()


def _short(name: str) -> Section:
    found: Section = import_module(f"bench.{name}.__main__").short()
    return found
