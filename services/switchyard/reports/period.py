"""A span of days, as people write one: 2017, 2017-05, 2017-05-14, or two of these with .. between them."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_PART = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_EXPECTED = "expected a year, a month, a day, or two of them, such as 2017, 2017-05 or 2017-05-01..2017-06-15"


@dataclass(frozen=True)
class Period:
    """The days from `first` to `last`, both included. As a field of Parameters it is read from text."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: object) -> Period:
        """The period that `text` names; a number counts as the year it looks like. Raises ValueError."""
        begin, dots, end = str(text).partition("..")
        first, last = _span(begin)
        if dots:
            last = _span(end)[1]
        if last < first:
            raise ValueError("the period ends before it begins")
        return cls(first, last)

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read a period from text. https://docs.pydantic.dev/latest/concepts/types/"""
        del source, handler
        return core_schema.no_info_plain_validator_function(lambda v: v if isinstance(v, cls) else cls.parse(v))


def _span(text: str) -> tuple[date, date]:
    found = _PART.fullmatch(text.strip())
    if not found:
        raise ValueError(_EXPECTED)
    year, month, day = found.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1))
        last_month = first.month if month else 12
        last = first if day else date(first.year, last_month, calendar.monthrange(first.year, last_month)[1])
    except ValueError as exc:
        raise ValueError(f"{exc}; {_EXPECTED}") from exc
    return first, last
