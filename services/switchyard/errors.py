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


class WorkflowConflict(WorkflowError):
    """The workflow is not in a state in which this can be done. `make workflow W=<id>` says how it stands."""


class EventRefused(SwitchyardError):
    """The event starts nothing: it is no CloudEvent, or nothing here waits for it. Nothing was started."""


class EventUnwanted(EventRefused):
    """The event is a CloudEvent, and nothing here waits for it. Nothing was started."""


class EventConflict(EventRefused):
    """Another event with this source and id was accepted before. Give each event an id of its own."""


class Unavailable(SwitchyardError):
    """Nothing can be accepted right now. Send it again; an event that was accepted after all starts nothing twice."""

    #: Seconds after which to try again.
    retry_after = 5


class Unroutable(SwitchyardError):
    """No queue takes this message; it was not sent. Declare the queue that is to take it before publishing."""


class ReportError(SwitchyardError):
    """A report cannot be made."""


def refusal(error: Mapping[str, Any], *, secret: bool = False) -> str:
    """Why pydantic refuses a value (an entry of `ValidationError.errors()`), and the value unless it is missing or `secret`."""
    message = str(error["msg"]).removeprefix("Value error, ")
    got = "" if secret or error["type"] == "missing" else f", got {shown(error['input'])}"
    return f"{message[0].lower()}{message[1:]}{got}"


def shown(value: object) -> str:
    """A value as a sentence quotes it: as Python writes it, and not much of it."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
