"""The module of a report: found, looked at, and refused with a sentence when it is not one."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.errors import ConfigError
from switchyard.report import Report
from switchyard.reports.artefact import Artefact
from switchyard.reports.parameters import Parameters

#: What a module must have, and how each is called.
FUNCTIONS = {"partitions": ("parameters",), "aggregate": ("partition",), "report": ("partials", "parameters")}


@dataclass(frozen=True)
class Code:
    """A report's own code."""

    parameters: type[Parameters]
    partitions: Callable[[Any], Sequence[Any]]
    aggregate: Callable[[Any], Any]
    report: Callable[[list[Any], Any], Artefact]


def code_of(report: Report) -> Code:
    """The code of a report. Raises ConfigError naming what its module lacks, or whatever importing it raises."""
    module = importlib.import_module(report.module)
    place = f"reports.{report.name}.module: {report.module!r}"
    found = {name: _function(module, name, arguments, place) for name, arguments in FUNCTIONS.items()}
    parameters = getattr(module, "Parameters", Parameters)
    if not (isinstance(parameters, type) and issubclass(parameters, Parameters)):
        raise ConfigError(f"{place}: its Parameters is no subclass of switchyard.reports.Parameters.")
    return Code(parameters, **found)


def _function(module: object, name: str, arguments: Sequence[str], place: str) -> Any:
    function = getattr(module, name, None)
    wanted = f"{name}({', '.join(arguments)})"
    if not callable(function):
        raise ConfigError(f"{place} has no function {wanted}; docs/reports.md shows one.")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as exc:
        raise ConfigError(f"{place}: it is called as {wanted}, but {exc}.") from None
    except ValueError:  # compiled, and does not say how it is called
        pass
    return function
