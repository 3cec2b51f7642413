"""What a product is: untrusted fields come in (a reply, a CSV row), a row for the store goes out."""

import reprlib
from collections.abc import Mapping
from typing import Any

from demo.errors import ProductError

#: A product as the store takes it: every column of COLUMNS, None where it is not known.
Product = dict[str, Any]

#: The columns that hold text.
TEXT_COLUMNS = ("department", "brand", "product_category", "product_type", "package_size")
#: All columns that describe a product, the key first.
COLUMNS = ("product_id", "manufacturer_id", *TEXT_COLUMNS)
#: The largest whole number that a BIGINT column holds.
LARGEST_ID = 2**63 - 1


def checked_id(value: object) -> int:
    """`value` if it can be a product id: a whole number from 1 to LARGEST_ID. Raises ProductError."""
    if type(value) is int and 0 < value <= LARGEST_ID:  # a bool is an int too, but never an id
        return value
    raise ProductError(f"product_id {quoted(value)} is not a whole number from 1 to {LARGEST_ID}.")


def quoted(value: object) -> str:
    """`value` as an error or a log line may quote it: short, whatever it is."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to spell out a number of thousands of digits
        return f"of type {type(value).__name__}"


def parse_product(fields: Mapping[str, Any]) -> Product:
    """The product in `fields`; columns that are missing are None, others are left out. Raises ProductError."""
    product: Product = dict.fromkeys(COLUMNS)
    product["product_id"] = checked_id(fields.get("product_id"))
    product["manufacturer_id"] = _whole_number(fields.get("manufacturer_id"))
    for column in TEXT_COLUMNS:
        product[column] = _text(column, fields.get(column))
    return product


def _whole_number(value: object) -> int | None:
    if value is None or (type(value) is int and abs(value) <= LARGEST_ID):
        return value
    raise ProductError(f"manufacturer_id {quoted(value)} is not a whole number.")


def _text(column: str, value: object) -> str | None:
    # PostgreSQL takes no NUL in a text: one such product would fail there and not on SQLite.
    if value is None or (isinstance(value, str) and "\0" not in value):
        return value
    raise ProductError(f"{column} {quoted(value)} is not a text.")
