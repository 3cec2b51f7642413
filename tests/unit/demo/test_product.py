"""Untrusted fields and the products they make."""

import pytest

from demo.errors import ProductError
from demo.product import COLUMNS, LARGEST_ID, checked_id, parse_product


@pytest.mark.parametrize("product_id", [1, 25671, LARGEST_ID])
def test_a_whole_number_in_range_is_a_product_id(product_id):
    """The ids that a BIGINT key can hold are taken as they are."""
    assert checked_id(product_id) == product_id


@pytest.mark.parametrize(
    "product_id",
    [
        0,  # below the range
        -1,
        LARGEST_ID + 1,  # more than the column holds
        pytest.param(10**5000, id="of 5001 digits"),  # more digits than Python turns into text
        True,  # an int by inheritance only
        1.0,
        "25671",
        None,
        [1],
        {"product_id": 1},
        float("nan"),
    ],
)
def test_anything_else_is_refused_with_a_sentence(product_id):
    """Whatever JSON can carry as an id is refused by our own error, with the value quoted."""
    with pytest.raises(ProductError, match="is not a whole number from 1"):
        checked_id(product_id)


def test_missing_columns_are_none_and_unknown_ones_are_left_out():
    """A product has exactly the columns of the store."""
    product = parse_product({"product_id": 5, "brand": "National", "colour": "red"})
    assert list(product) == list(COLUMNS)
    assert product == dict.fromkeys(COLUMNS) | {"product_id": 5, "brand": "National"}


@pytest.mark.parametrize(
    "fields",
    [
        {"manufacturer_id": "69"},
        {"manufacturer_id": 2**63},
        {"manufacturer_id": True},
        {"brand": 7},
        {"department": ["GROCERY"]},
        {"package_size": "22\0LB"},  # PostgreSQL stores no NUL
    ],
)
def test_a_column_of_the_wrong_kind_is_refused_by_name(fields):
    """The sentence names the column, so that the row can be mended."""
    with pytest.raises(ProductError, match=next(iter(fields))):
        parse_product({"product_id": 1, **fields})
