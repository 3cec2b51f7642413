"""The data set's tables go in by name, a DuckDB connection with a view of each comes out, which stays within its slot's share."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from demo.data_set import parquet
from switchyard.errors import ReportError
from switchyard.reports import own_share

#: Half a slot's memory is DuckDB's: its limit leaves out what it reads files with, and Python lives there too.
_DUCKDB_PART = 2
#: Where the stores are. The timestamps are UTC, though nothing says so: the data's weeks turn when Monday begins here.
_ZONE = "America/New_York"

#: Views that are not the file as it is. Each row's cents become exact before anything adds them up: the file has doubles.
_VIEWS = {"transactions": "SELECT * REPLACE (sales_value::DECIMAL(18, 2) AS sales_value)"}
#: `store_day` is the day of a moment where the stores are. `in_days` finds a span of them without converting every row,
#: which would take longer than the rest of a query.
_MACROS = (
    f"CREATE MACRO store_day(moment) AS timezone('{_ZONE}', timezone('UTC', moment))::DATE",
    f"CREATE MACRO opening(day) AS timezone('UTC', timezone('{_ZONE}', day::DATE::TIMESTAMP))",
    "CREATE MACRO in_days(moment, first, last) AS moment >= opening(first) AND moment < opening(last::DATE + 1)",
)


@contextmanager
def tables(*names: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to these tables. Raises SeedError without the data set, ReportError when the memory does not suffice."""
    share = own_share()
    limit = share.memory // _DUCKDB_PART
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{limit}B",
        "threads": share.threads,
        "temp_directory": "",  # nothing is spilled: a container's disk is read-only, or as small as its memory
        "autoinstall_known_extensions": False,  # a worker downloads nothing
    }
    try:
        with duckdb.connect(config=config) as connection:
            for name in names:
                path = str(parquet(name)).replace("'", "''")
                connection.execute(f"CREATE VIEW {name} AS {_VIEWS.get(name, '')} FROM read_parquet('{path}')")
            for macro in _MACROS:
                connection.execute(macro)
            yield connection
    except duckdb.OutOfMemoryException as exc:
        raise ReportError(
            f"A query needed more than the {limit // 1024**2} MB that DuckDB may use, half of this slot's memory. "
            "Give the report more `memory` or fewer slots in config/queues.toml."
        ) from exc
