"""A workflow's results, read from its record as they are asked for: what its callback is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from kombu.utils.json import loads

from switchyard.workflows import record
from switchyard.workflows.record import patiently

#: Results read in one round trip, or little more; no more than these are in memory at once.
PAGE_ITEMS = 1000


class Results(Sequence[Any]):
    """One result per item, in order. Has a length, can be indexed, sliced and looped over, again and again; it is no list.

    Reading it asks Redis, page by page, and waits for one that is away.
    """

    def __init__(self, meta: record.Meta) -> None:
        self._meta = meta
        #: The chunk that was read last, for who goes from index to index.
        self._last: tuple[int, list[Any]] = (-1, [])

    def __len__(self) -> int:
        return self._meta.total

    def __iter__(self) -> Iterator[Any]:
        for chunks in record.pages(range(self._meta.chunks), self._meta.chunk_size, PAGE_ITEMS):
            for results in self._read(chunks):
                yield from results

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        chunk, offset = divmod(range(len(self))[index], self._meta.chunk_size)
        if chunk != self._last[0]:
            self._last = chunk, next(self._read([chunk]))
        return self._last[1][offset]

    def __repr__(self) -> str:
        return f"<{len(self)} results of workflow {self._meta.id}>"

    def _read(self, chunks: Sequence[int]) -> Iterator[list[Any]]:
        for chunk, found in zip(chunks, patiently(lambda: record.results(self._meta, chunks)), strict=True):
            first = chunk * self._meta.chunk_size
            indices = range(first, min(first + self._meta.chunk_size, len(self)))  # every chunk but the last is full
            texts = (found.get(str(index)) for index in indices)
            yield [loads(text) if text else {"status": False, "message": "its result has expired"} for text in texts]
