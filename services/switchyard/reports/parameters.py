"""A report's parameters: whatever was asked for comes in as text, a checked and frozen object goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from switchyard.errors import ReportError, refusal


class Parameters(BaseModel):
    """What a report may be asked for: a subclass in its module has a field for each, with a default. This one: nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


P = TypeVar("P", bound=Parameters)


def checked(model: type[P], given: Mapping[str, Any]) -> P:
    """The parameters that were given. Raises ReportError with a sentence for each that is refused."""
    try:
        return model(**given)
    except ValidationError as exc:
        raise ReportError(" ".join(_sentence(model, error) for error in exc.errors())) from None


def _sentence(model: type[Parameters], error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields) or "none"
        return f"{name}: the report has no such parameter; it takes: {known}."
    if not name:  # a check of several together
        return f"{error['msg'].removeprefix('Value error, ')}."
    return f"{name}: {refusal(error)}."


def as_text(parameters: Parameters) -> dict[str, str]:
    """The parameters as a person would write them, without those that were left out."""
    return {name: str(value) for name, value in parameters if value is not None}
