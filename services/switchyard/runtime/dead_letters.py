"""`make dead-letters`: those that are kept, as a person reads them; replayed, or dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from redis.exceptions import ResponseError

from switchyard import redaction
from switchyard.broker import dead_letters, reading, state, task_message
from switchyard.broker.dead_letters import DeadLetter
from switchyard.broker.task_message import TaskMessage, text
from switchyard.console import harmless
from switchyard.errors import ConfigError, SwitchyardError, UnknownWorkflow
from switchyard.logs import redact
from switchyard.queues import Queues
from switchyard.workflows import attempts

#: Headers that are shown by themselves, or that quote arguments.
_NOT_AGAIN = {"id", "task", "retries", "argsrepr", "kwargsrepr", "args", "kwargs", "callbacks", "errbacks", "chord"}
#: Characters of a message that nobody can read.
SHOWN = 500


def rows(queue: str | None) -> Iterator[tuple[str, ...]]:
    """A row for each: its id, when it was kept, its queue, its task, and why, oldest first."""
    for letter in dead_letters.kept(queue):
        yield tuple(map(harmless, (letter.id, _when(letter.at), letter.queue, letter.task, _clean(letter.reason))))


def shown(letter: DeadLetter, hidden: tuple[str, ...]) -> Iterator[str]:
    """Everything that is known of a letter, a line each. Values of keys that sound like secrets are left out."""
    contents = _contents(letter)
    fields: dict[str, object] = {"id": letter.id, "task": letter.task, "task id": letter.task_id, "queue": letter.queue,
              "kept": _when(letter.at), "worker": letter.worker or "?", "cause": _clean(letter.reason),
              "lost before": letter.deliveries}  # fmt: skip
    try:
        fields |= _of_message(task_message.read(contents.message), hidden)
    except Exception as exc:  # noqa: BLE001  anybody may have published anything
        # What may be a task's message may have arguments that are not to be shown.
        begins = (
            ""
            if contents.message.startswith(b"{")
            else f"; it begins: {contents.message[:SHOWN].decode(errors='replace')}"
        )
        fields |= {"message": f"{reading.why_not(exc)} ({len(contents.message):,} bytes){begins}"}
    yield from (f"{name:<12} {harmless(str(value))}" for name, value in fields.items())
    if contents.traceback:
        yield "traceback"
        yield from (f"  {harmless(line)}" for line in _clean(contents.traceback).splitlines())


def _of_message(message: TaskMessage, hidden: tuple[str, ...]) -> dict[str, object]:
    def cleaned(value: object) -> str:
        return text(redaction.redacted(value, hidden))

    others = {name: value for name, value in message.headers.items() if name not in _NOT_AGAIN and value is not None}
    found: dict[str, object] = {"retries": message.headers.get("retries") or 0}
    if message.args is None and message.kwargs is None:
        found["arguments"] = f"not shown: they are {message.content_type}"
    else:
        found |= {"arguments": cleaned(message.args), "keywords": cleaned(message.kwargs)}
    if message.after:
        found["then"] = cleaned(message.after)
    return found | {"headers": cleaned(others)}


def replay(letter: DeadLetter, queues: Queues) -> None:
    """Put its message back into its queue, under its own ids; that of a workflow's start opens the workflow's next attempt. Raises
    SwitchyardError for what would only come back or vanish, or is not there any more.
    """
    message = _contents(letter).message
    try:
        headers = task_message.read(message).headers
    except Exception as exc:
        raise SwitchyardError(
            f"The dead letter {letter.id} cannot be replayed: {reading.why_not(exc)}. Drop it: make dead-letters DO=drop ID={letter.id}"
        ) from exc
    try:
        queues[letter.queue]
    except ConfigError as exc:
        raise SwitchyardError(
            f"The dead letter {letter.id} cannot be replayed: no worker reads its queue, {letter.queue!r}, which is not in queues.toml "
            "any more. Put its table back and say make up, or drop the letter."
        ) from exc
    if state.is_revoked(letter.task_id):
        raise SwitchyardError(
            f"The dead letter {letter.id} cannot be replayed: its task was revoked, and a worker would drop it unseen. Send the task "
            "anew, and drop the letter."
        )
    if (ended := _expired(headers)) is not None:
        raise SwitchyardError(
            f"The dead letter {letter.id} cannot be replayed: its task expired at {ended}, and a worker would drop it unseen. Send "
            "the task anew, and drop the letter."
        )
    try:
        _reopen(letter)
        there = dead_letters.put_back(letter)
    except ResponseError as exc:
        raise SwitchyardError(
            f"Redis refuses the dead letter {letter.id} ({exc}); it is kept. Try again later."
        ) from exc
    if not there:
        raise _gone(letter)


def _reopen(letter: DeadLetter) -> None:
    """If it was a workflow's start, open the workflow's next attempt: the record has ended with it, and would turn it away."""
    with suppress(UnknownWorkflow):
        attempts.reopen(letter.task_id)


def drop(letter: DeadLetter) -> None:
    """Remove it. Raises SwitchyardError if it is not there any more."""
    if not dead_letters.remove(letter):
        raise _gone(letter)


def _contents(letter: DeadLetter) -> dead_letters.Contents:
    if (found := dead_letters.contents(letter)) is None:
        raise _gone(letter)
    return found


def _gone(letter: DeadLetter) -> SwitchyardError:
    return SwitchyardError(
        f"The dead letter {letter.id} is not there any more: it was replayed or dropped. `make dead-letters` lists those that are kept."
    )


def _expired(headers: dict[str, object]) -> str | None:
    """When it expired, if it has."""
    expires = headers.get("expires")
    try:
        ends = datetime.fromisoformat(str(expires))
    except ValueError:  # none, or what a worker will make of it
        return None
    ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    return f"{ends.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if ends < datetime.now(UTC) else None


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _clean(said: str) -> str:
    """What an exception has said, without the passwords of URLs in it, as in the logs."""
    return str(redact(None, "", {"said": said})["said"])
