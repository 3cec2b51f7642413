"""A report made in this process, with everything that goes between two workers sent through kombu's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.utils.json import dumps, loads

from switchyard.reports.parameters import as_text, checked
from switchyard.reports.validation import validate

if TYPE_CHECKING:
    from types import ModuleType

    from switchyard.reports import Artefact, Parameters


def parameters(module: ModuleType, **given: str) -> Parameters:
    """The report's parameters, as they arrive at its last step: text again in between."""
    return checked(module.Parameters, as_text(checked(module.Parameters, given)))


def carried(value: Any) -> Any:
    """What another worker gets of this value."""
    return loads(dumps(value))


def partials(module: ModuleType, **given: str) -> list[Any]:
    """What each partition comes to, in order."""
    cut = module.partitions(parameters(module, **given))
    return [carried(module.aggregate(carried(partition))) for partition in cut]


def artefact(module: ModuleType, **given: str) -> Artefact:
    """The whole report; one that the core would not store is an error."""
    made = module.report(partials(module, **given), parameters(module, **given))
    validate(made)
    return made
