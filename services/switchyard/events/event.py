"""A CloudEvent: bytes in, a checked event out. The one place where what others send is refused.

CloudEvents 1.0.2 in structured mode, single and batch, with JSON data: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
The CNCF's own Python SDK was tried and is not used: it makes an id up where one is missing, which would start a repeated
event twice, and takes duplicate keys, NaN and times that are none.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from switchyard.errors import EventRefused, refusal, shown
from switchyard.events import strict_json

#: Bytes of a body, a batch included, and events of a batch.
MAX_BYTES = 1024**2
MAX_BATCH = 1000

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: What an attribute's name may be.
EXTENSION = r"^[a-z0-9]{1,64}$"
_URI_REFERENCE = r"^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+$"
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)
_LEAP_SECOND = re.compile(r"(?<=:\d\d:)60")
_JSON = re.compile(r"[\w.!#$&^-]+/([\w.!#$&^-]+\+)?json(\s*;[ -~]*)?", re.ASCII | re.IGNORECASE)


def _text(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("expected a text without control characters")
    return value


def _json_media_type(value: str) -> str:
    if not _JSON.fullmatch(value):
        raise ValueError("expected application/json, or a media type that ends in +json")
    return value


def _rfc_3339(value: str) -> str:
    try:
        if _TIME.fullmatch(value):
            datetime.fromisoformat(_LEAP_SECOND.sub("59", value.upper()))
            return value
    except ValueError:
        pass
    raise ValueError("expected a time as RFC 3339 has it, such as 2026-01-31T02:00:00Z")


Name = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_text)]
Text = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_text)]
MediaType = Annotated[str, Field(max_length=256), AfterValidator(_json_media_type)]
UriReference = Annotated[str, Field(min_length=1, max_length=1024, pattern=_URI_REFERENCE)]
Time = Annotated[str, AfterValidator(_rfc_3339)]


class Event(BaseModel):
    """One event. `source` and `id` together name it: what is sent again with both the same starts nothing twice."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    specversion: Literal["1.0"]
    id: Name = Field(description="Unique among the events of its source")
    source: UriReference = Field(description="Where it happened, as a URI reference")
    type: Name = Field(description="What happened, as in events.toml")
    subject: Text | None = None
    time: Time | None = Field(default=None, description="When it happened, as RFC 3339 has it")
    datacontenttype: MediaType | None = None
    dataschema: UriReference | None = None
    data: Any = Field(default=None, description="What the workflow may be told; the type says which keys")

    @model_validator(mode="before")
    @classmethod
    def _attributes(cls, given: Any) -> Any:
        """Without those that are null, which the specification takes for absent."""
        if not isinstance(given, dict):
            return given
        known = {*cls.model_fields, "data_base64"}
        for name, value in given.items():
            if name not in known:
                _extension(name, value)
        given = {name: value for name, value in given.items() if value is not None}
        if "data_base64" in given:
            raise ValueError("data_base64: expected JSON in data")
        return given


def _extension(name: str, value: Any) -> None:
    if not re.fullmatch(EXTENSION, name):
        raise ValueError(f"{name[:80]!r} is no attribute: expected lower-case letters and digits only, 64 at most")
    whole = value is None or isinstance(value, bool | int) or (isinstance(value, float) and value.is_integer())
    if not whole and (not isinstance(value, str) or _CONTROL.search(value)):
        raise ValueError(
            f"{name}: expected a text without control characters, a whole number or a boolean, got {shown(value)}; "
            "what is more goes into data"
        )


def parse(body: bytes) -> Event | list[Event]:
    """The event in `body`, or the events of a batch. Raises EventRefused naming the key, and in a batch the place."""
    if len(body) > MAX_BYTES:
        raise EventRefused(f"The body has {len(body):,} bytes; expected at most {MAX_BYTES:,}.")
    value = strict_json.loads(body)
    if not isinstance(value, list):
        return _event(value, "")
    if not 1 <= len(value) <= MAX_BATCH:
        raise EventRefused(f"The batch has {len(value):,} events; expected 1 to {MAX_BATCH:,}.")
    return [_event(each, f"[{place}] ") for place, each in enumerate(value)]


def _event(value: Any, place: str) -> Event:
    if not isinstance(value, dict):
        raise EventRefused(
            f"{place}An event is a JSON object with specversion, id, source and type, got {shown(value)}."
        )
    try:
        return Event.model_validate(value)
    except ValidationError as exc:
        raise EventRefused(" ".join(f"{place}{_sentence(error)}" for error in exc.errors()[:5])) from None


def _sentence(error: Any) -> str:
    if not error["loc"]:
        return f"{str(error['msg']).removeprefix('Value error, ')}."
    if error["type"] == "string_pattern_mismatch":
        error = {**error, "msg": "expected a URI reference, such as /orders or https://shop.example/orders"}
    return f"{'.'.join(map(str, error['loc']))}: {refusal(error)}."
