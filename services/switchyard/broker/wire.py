"""Commands in, their answers out, on one connection and in one packet each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

Command = tuple[Any, ...]


def ask(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """The answer to each command; a refusal is a ResponseError in its place. Raises redis' other errors, of the connection."""
    connection.send_packed_command(connection.pack_commands(commands))
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(connection.read_response())
        except ResponseError as exc:
            answers.append(exc)
    return answers


def is_lost(exc: Exception, errors: tuple[type[BaseException], ...]) -> bool:
    """Whether an exception is one of `errors`, a connection's by kombu's count, which has KeyError among them: that is of whatever message
    was just handed on, and anybody may publish anything.
    """
    return isinstance(exc, errors) and not isinstance(exc, KeyError)


def refusal(answers: Sequence[Any]) -> ResponseError | None:
    """The first refusal among answers."""
    return next((answer for answer in answers if isinstance(answer, ResponseError)), None)


def calls(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """The answers. Raises the first refusal, once all are read."""
    answers = ask(connection, commands)
    if refused := refusal(answers):
        raise refused
    return answers


def call(connection: Any, *command: Any) -> Any:
    """One command's answer. Raises its refusal."""
    return calls(connection, [command])[0]
