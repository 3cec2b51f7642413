"""The errors that reach a person: each is a sentence and a next step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SwitchyardError(Exception):
    """Something went wrong that Switchyard has no better words for; the lines above this one in the log say where."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigError(SwitchyardError):
    """The configuration is refused. Mend the key named above and run the command again."""


class RuntimeRefusal(SwitchyardError):
    """The deployment cannot be changed right now. Nothing was touched; try again when the reason is gone."""


class WorkflowError(SwitchyardError):
    """A workflow cannot be started or read."""


class UnknownWorkflow(WorkflowError):
    """No workflow has this id; it may have expired. Ids are printed when a workflow starts."""


class ReportError(SwitchyardError):
    """A report cannot be made."""


def refusal(error: Mapping[str, Any], *, secret: bool = False) -> str:
    """Why pydantic refuses a value (an entry of `ValidationError.errors()`), and the value unless it is missing or `secret`."""
    message = str(error["msg"]).removeprefix("Value error, ")
    got = "" if secret or error["type"] == "missing" else f", got {error['input']!r}"
    return f"{message[0].lower()}{message[1:]}{got}"
