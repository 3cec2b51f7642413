"""The commands that give work and look at it: arguments in, a workflow's progress and an exit code out. They reach Redis."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice

from switchyard.console import REFUSED, UNSUCCESSFUL, aligned, harmless, out
from switchyard.errors import SwitchyardError
from switchyard.settings import settings

#: Rows of what may be very many.
_SHOWN = 1000


def start(found: argparse.Namespace) -> int:
    """Start a workflow by its task's name, and follow it."""
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


def report(found: argparse.Namespace) -> int:
    """Make a report, and say where it is."""
    from switchyard.producer import app  # noqa: PLC0415
    from switchyard.reports import run  # noqa: PLC0415
    from switchyard.routing import current_queues  # noqa: PLC0415

    queues = current_queues()
    if not found.name or "=" in found.name:
        known = ", ".join(queues.reports) or "none yet: `make new-report NAME=<name>` writes one"
        raise SwitchyardError(f"Which report? Say `make report R=<name>`. There are: {known}.")
    chosen = queues.report(found.name)
    parameters = dict(_split(argument, "period=2017-05") for argument in found.arguments)
    workflow_id = run.start(app, chosen, parameters)
    out.print(f"workflow {workflow_id}", markup=False)
    return run.follow({chosen.name: workflow_id}, out)


def workflow(found: argparse.Namespace) -> int:
    """Say how a workflow stands, and which of its items failed."""
    with _redis_needed():
        return _show(_id_of(found, "workflow"))


def _id_of(found: argparse.Namespace, target: str) -> str:
    if not found.id:
        raise SwitchyardError(f"Which workflow? Say `make {target} W=<id>`; the id is printed when it starts.")
    return str(found.id)


def cancel(found: argparse.Namespace) -> None:
    """End a workflow, and say so."""
    from switchyard import workflows  # noqa: PLC0415

    with _redis_needed():
        meta = workflows.cancel(_id_of(found, "cancel"), by="`make cancel`")
    out.print(
        f"{meta.name} {meta.id} was {meta.reason}. Nothing of it starts any more; items that run now end.", markup=False
    )


def replay(found: argparse.Namespace) -> int:
    """Open a workflow's next attempt, and follow it."""
    from switchyard import progress, workflows  # noqa: PLC0415

    with _redis_needed():
        meta = workflows.replay(_id_of(found, "replay"))
    out.print(f"workflow {meta.id}, attempt {meta.attempt}", markup=False)
    return _say_end(progress.follow(meta.id, out))


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


def refused(found: argparse.Namespace) -> None:
    """Show refused events, send them again, or drop them."""
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


def dead_letters(found: argparse.Namespace) -> int:
    """List dead letters, show one, replay them, or drop them."""
    _check_choice(found)
    with _redis_needed():
        if found.do == "list":
            return _list_dead_letters(found.queue)
        return _with_dead_letters(found)


def _check_choice(found: argparse.Namespace) -> None:
    """Nothing is guessed: what is dropped is gone."""
    say = f"make dead-letters DO={found.do} ID="
    if found.do == "list" and (found.ids or found.all):
        raise SwitchyardError(
            "What is to become of it? Say make dead-letters DO=show, DO=replay or DO=drop with its ID=."
        )
    if found.do == "show" and (found.all or len(found.ids) != 1):
        raise SwitchyardError(f"Which one? Say {say}<id>; `make dead-letters` lists them.")
    if found.do in ("replay", "drop") and bool(found.ids) == found.all:
        raise SwitchyardError(f"Which ones? Say {say}<id>, or {say}all; `make dead-letters` lists them.")
    if found.queue and found.ids:
        raise SwitchyardError(
            "--queue goes with all letters of a queue, not with one that has an id. Leave one of them out."
        )


def _list_dead_letters(queue: str | None) -> int:
    from switchyard.runtime import dead_letters  # noqa: PLC0415

    rows = list(dead_letters.rows(queue))
    if not rows:
        out.print("No dead letter is kept." if queue is None else f"No dead letter of the queue {queue!r} is kept.")
        return 0
    # All at once, and nobody's markup: there may be ten thousand. A pipe gets all of each line, a terminal as much as it has room for.
    text = "\n".join(aligned([("id", "kept", "queue", "task", "cause"), *rows], out.width if out.is_terminal else None))
    print(text, file=out.file)
    if out.is_terminal:
        out.print(
            "Then: make dead-letters DO=show ID=<id>; or DO=replay, DO=drop, with ID=<id> or ID=all", markup=False
        )
    return 0


def _with_dead_letters(found: argparse.Namespace) -> int:
    from switchyard import redaction  # noqa: PLC0415
    from switchyard.broker.dead_letters import find, kept  # noqa: PLC0415
    from switchyard.routing import current_queues  # noqa: PLC0415
    from switchyard.runtime import dead_letters  # noqa: PLC0415

    done, refusals = 0, []
    for number in [letter.id for letter in kept(found.queue)] if found.all else found.ids:
        try:
            letter = find(number)
            if found.do == "show":
                for line in dead_letters.shown(letter, redaction.names(settings().redacted_arguments)):
                    out.print(line, markup=False)
            elif found.do == "replay":
                dead_letters.replay(letter, current_queues())
            else:
                dead_letters.drop(letter)
            done += 1
        except SwitchyardError as exc:  # the others are not to wait for it
            refusals.append(str(exc))
    if found.do != "show" and (done or not refusals):
        out.print(f"{'Replayed' if found.do == 'replay' else 'Dropped'}: {done:,}.", markup=False)
    if refusals:
        raise SwitchyardError("\n".join(refusals))
    return 0


def delayed(found: argparse.Namespace) -> None:
    """What is not due yet, the next one first; or give it to stock workers."""
    from switchyard.broker import delays  # noqa: PLC0415

    with _redis_needed():
        if found.release:
            out.print(f"Given back to their queues: {delays.release():,}.")
            return
        rows = [
            (
                f"{datetime.fromtimestamp(each.due, UTC):%Y-%m-%dT%H:%M:%SZ}",
                *map(harmless, (each.queue, each.task, each.task_id)),
            )
            for each in islice(delays.kept(), _SHOWN)
        ]
        if not rows:
            out.print("No message is delayed.")
            return
        print(
            "\n".join(aligned([("due", "queue", "task", "id"), *rows], out.width if out.is_terminal else None)),
            file=out.file,
        )
        if (left := delays.count() - len(rows)) > 0:
            out.print(f"and {left:,} more")


@contextmanager
def _redis_needed() -> Iterator[None]:
    import redis  # noqa: PLC0415

    try:
        yield
    except redis.RedisError as exc:
        raise SwitchyardError(f"Redis does not answer ({exc}). Is it up? `make ps`") from exc


def _say_end(meta: object) -> int:
    result, reason, state = (getattr(meta, key) for key in ("result", "reason", "state"))
    if state == "cancelled":
        out.print(f"The workflow was {reason}.", markup=False)
        return REFUSED
    out.print(f"{state}: {result if state == 'done' and result is not None else reason or result}", markup=False)
    return 0 if state == "done" and not (isinstance(result, dict) and result.get("status") is False) else UNSUCCESSFUL
