"""How slow and how unreliable the supplier is: JSON comes in from PUT /knobs, checked numbers go out to the app."""

import json

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from demo.errors import SupplierError
from demo.product import quoted


class Knobs(BaseModel):
    """What can be turned while the supplier runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    latency_ms: int = Field(ge=0, le=60_000)
    failure_rate: float = Field(ge=0.0, le=1.0, allow_inf_nan=False)

    def turned(self, body: bytes) -> "Knobs":
        """These knobs with what `body` names turned. Raises SupplierError with a sentence for the caller."""
        try:
            wanted = json.loads(body)
        except (ValueError, RecursionError):
            wanted = None
        if not isinstance(wanted, dict):
            raise SupplierError('The body is not a JSON object like {"latency_ms": 50, "failure_rate": 0.01}.')
        try:
            return Knobs.model_validate({**self.model_dump(), **wanted})
        except ValidationError as exc:
            raise SupplierError(_sentence(exc)) from exc


def _sentence(exc: ValidationError) -> str:
    problems = (f"{error['loc'][0]}: {error['msg']}, not {quoted(error['input'])}" for error in exc.errors())
    return "; ".join(problems) + ". The knobs are latency_ms (0 to 60000) and failure_rate (0 to 1)."
