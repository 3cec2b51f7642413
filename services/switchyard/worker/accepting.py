"""Jobs that were written to a child of prefork in, their acceptance heard out, before Celery's pool forgets whatever is not accepted.

When a worker stops or has lost its connection, the pool drops each job that no child has accepted, as the broker delivers it again. One
that was written to a child just before runs there all the same: twice, and its first result is waited for by nobody, while
the child waits for half a minute for somebody to read it.
"""
# ruff: noqa: SLF001  Celery's pool has no other way in

from __future__ import annotations

import time
from contextlib import suppress
from inspect import isgenerator
from typing import Any

from celery.concurrency import asynpool

#: Seconds after which a child that has not accepted a job is taken for one that hangs. One job at a time is written to a child, and
#: only to one that has nothing to do.
PATIENCE_S = 5.0

#: Celery's module, whose stubs lack most of it.
_celerys: Any = asynpool


def hear(pool: Any) -> None:
    """Finish what is being written, and read what children say, until each written job is accepted or its child is gone."""
    asyn: Any = getattr(pool, "_pool", None)
    if not isinstance(asyn, _celerys.AsynPool):
        return
    over = time.monotonic() + PATIENCE_S
    while (jobs := _written(asyn)) and time.monotonic() < over:
        writers = {job._write_to.inqW_fd: writer for job in jobs if (writer := _writer(asyn, job))}
        readable, writable, _ = _celerys._select({job._write_to.outqR_fd for job in jobs}, {*writers}, timeout=0.1)
        for fd in readable:
            _read(asyn, fd)
        for fd in writable:
            _write(asyn, writers[fd])
    # Children that have ended, while their jobs are known: else those that replace them would read what was written to these.
    asyn.maintain_pool()


def _written(asyn: Any) -> list[Any]:
    """Jobs that are on their way to a living child, or there, and not accepted."""
    return [
        job
        for job in list(asyn._cache.values())
        if not job._accepted
        and job._write_to is not None
        and job._write_to._is_alive()
        # What a child has left behind waits for another one; it may be taken for written to whoever has its pipe's number now.
        and job not in asyn.outbound_buffer
    ]


def _writer(asyn: Any, job: Any) -> Any:
    """What has written a part of the job, and is to write the rest."""
    writer = _celerys._get_job_writer(job)
    return writer if writer in asyn._active_writers else None


def _write(asyn: Any, writer: Any) -> None:
    try:
        next(writer)
    except (StopIteration, OSError, EOFError):
        asyn._active_writers.discard(writer)


def _read(asyn: Any, fd: int) -> None:
    """One message of a child, or the rest of one of which the loop has read a part."""
    registered = asyn._result_handler._hub.readers.get(fd)
    if registered and isgenerator(registered[0]):
        with suppress(OSError, EOFError):  # it has ended meanwhile
            next(registered[0], None)
    else:
        asyn.handle_result_event(fd)
