"""A department as someone asks for it: text comes in, one that the products have goes out, or a sentence that helps."""

from difflib import get_close_matches
from typing import Annotated

from duckdb import DuckDBPyConnection
from pydantic import StringConstraints

from demo.product import quoted
from switchyard.errors import ReportError

#: Where a sale belongs whose product has no row.
UNKNOWN = "UNKNOWN"
#: A report's parameter; every department of the data set is in capitals.
Department = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True)]


def check_department(connection: DuckDBPyConnection, department: str | None) -> None:
    """Raises ReportError unless a product, or UNKNOWN, has this department; None is all of them."""
    if department is None:
        return
    rows = connection.execute("SELECT DISTINCT department FROM products ORDER BY department").fetchall()
    known = [*(row[0] for row in rows), UNKNOWN]
    if department in known:
        return
    close = get_close_matches(department, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Ask for one of these: {', '.join(known)}."
    raise ReportError(f"department: no product's is {quoted(department)}. {hint}")
