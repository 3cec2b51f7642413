"""A workflow's results as its callback sees them, page by page; Redis is stood in for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.test_fan_out import meta

from switchyard.workflows import record, results
from switchyard.workflows.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence

TOTAL, SIZE = 25, 10


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The chunks that were read, round trip by round trip. The result of item 7 has expired."""
    found: list[list[int]] = []

    def stand_in(_: record.Meta, chunks: Sequence[int]) -> list[dict[str, str]]:
        found.append(list(chunks))
        return [
            {str(n): json.dumps({"n": n}) for n in range(chunk * SIZE, min(chunk * SIZE + SIZE, TOTAL)) if n != 7}
            for chunk in chunks
        ]

    monkeypatch.setattr(record, "results", stand_in)
    return found


def made(**fields: Any) -> Results:
    return Results(meta(**{"chunks": 3, "chunk_size": SIZE, "total": TOTAL} | fields))


EXPIRED = {"status": False, "message": "its result has expired"}
ALL = [EXPIRED if n == 7 else {"n": n} for n in range(TOTAL)]


def test_results_are_all_of_them_in_order(read: list[list[int]]) -> None:
    """As often as one asks, and each time from the record."""
    found = made()
    assert (len(found), list(found), list(found)) == (TOTAL, ALL, ALL)
    assert read == [[0, 1, 2]] * 2


def test_no_more_are_in_memory_than_a_page_of_them(read: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is read when its first result is asked for."""
    monkeypatch.setattr(results, "PAGE_ITEMS", 15)
    looped = iter(made())
    assert read == []
    for _ in range(11):
        next(looped)
    assert read == [[0], [1]]


def test_a_result_can_be_asked_for_by_its_place(read: list[list[int]]) -> None:
    """From either end, and several at once; a chunk is not read again for its next result."""
    found = made()
    assert (found[0], found[7], found[24], found[-1], found[-25]) == (ALL[0], EXPIRED, ALL[24], ALL[24], ALL[0])
    assert found[5:8] == ALL[5:8]
    assert found[::-6] == ALL[::-6]
    assert read == [[0], [2], [0], [2], [1], [0]]


@pytest.mark.parametrize("index", [25, -26])
def test_there_is_no_result_beyond_the_last(read: list[list[int]], index: int) -> None:
    """As of a list; so a loop over places ends, too."""
    with pytest.raises(IndexError):
        made()[index]


def test_a_workflow_without_items_has_no_results(read: list[list[int]]) -> None:
    """Nothing is asked for."""
    found = made(chunks=0, total=0)
    assert (len(found), list(found), bool(found), read) == (0, [], False, [])


def test_results_can_be_searched_and_reversed(read: list[list[int]]) -> None:
    """As any sequence."""
    found = made()
    assert EXPIRED in found
    assert found.index({"n": 12}) == 12
    assert list(reversed(found)) == ALL[::-1]


def test_results_do_not_show_what_is_in_them() -> None:
    """A line of the log would be as long as all of them."""
    assert repr(made()) == "<25 results of workflow an-id>"
