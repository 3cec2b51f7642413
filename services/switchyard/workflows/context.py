"""Which workflow the code that runs right now belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_current: ContextVar[Current | None] = ContextVar("switchyard_workflow", default=None)


@dataclass(frozen=True)
class Current:
    """A workflow's id, and which attempt at it runs: together they make an idempotency key."""

    id: str
    attempt: int


def current() -> Current | None:
    """The workflow this item or callback runs for; None outside one."""
    return _current.get()


@contextmanager
def running_in(workflow: Current) -> Iterator[None]:
    """Make `workflow` the current one inside the block."""
    token = _current.set(workflow)
    try:
        yield
    finally:
        _current.reset(token)
