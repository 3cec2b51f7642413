"""A report made in this process, with everything that goes between two workers sent through kombu's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from kombu.utils.json import dumps, loads

from demo.data_set import parquet
from demo.errors import SeedError
from switchyard.reports.parameters import as_text, checked
from switchyard.reports.validation import validate

if TYPE_CHECKING:
    from types import ModuleType

    from switchyard.reports import Artefact, Parameters


def _installed() -> bool:
    try:
        parquet("transactions")
    except SeedError:
        return False
    return True


needs_data_set = pytest.mark.skipif(not _installed(), reason="the data set is not installed: requirements/data.txt")


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


def ask(query: str) -> list[Any]:
    """The rows of a query over the files themselves: `transactions` in it is its parquet file, as it is."""
    with duckdb.connect() as connection:
        for name in ("transactions", "products", "promotions", "campaign_descriptions", "coupon_redemptions"):
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{parquet(name)}')")
        return connection.execute(query).fetchall()
