"""One queue: its keys, their checks, and the numbers that follow from them."""

from __future__ import annotations

import math
import re
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

DEFAULT_QUEUE = "default"
#: The queue that other applications publish events to; it has no worker, and no table.
EVENTS_QUEUE = "events"
#: Stands alone in the default queue's `tasks`: every task that no other queue takes.
EVERYTHING_ELSE = "*"
#: Pools whose tasks are greenlets in one process.
GREEN_POOLS = ("gevent", "eventlet")
#: What the environment may override while the shape of the deployment stays as rendered.
RUN_TIME_KEYS = ("autoscale", "concurrency", "events", "log_level", "prefetch")
#: Seconds between the end of a worker's own wait and the kill, for what finished to be acknowledged and the rest to go back.
STOP_MARGIN = 15
#: Seconds a container has beyond that, so that its worker is killed by nobody else first.
GRACE_MARGIN = 10
#: Seconds a chunk may take beyond its last item, for its results to be recorded.
CHUNK_MARGIN = 10

_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


def _memory(value: object) -> int:
    found = re.fullmatch(r"([1-9]\d*)([KMG])", str(value))
    if not found:
        raise ValueError("expected a number and a unit, such as 512M or 2G")
    return int(found[1]) * _UNITS[found[2]]


def _autoscale(value: object) -> object:
    if value is None or isinstance(value, tuple):
        return value
    found = re.fullmatch(r"(\d+),(\d+)", str(value))
    if not found or int(found[1]) < int(found[2]) or int(found[1]) == 0:
        raise ValueError('expected "most,least" slots, such as "32,16"')
    return int(found[1]), int(found[2])


def _glob(value: str) -> str:
    if not re.fullmatch(r"[\w.*?\[\]!-]+", value):
        raise ValueError("expected a Celery task name or a glob of names, such as reports.sales.*")
    return value


Memory = Annotated[int, BeforeValidator(_memory)]
Autoscale = Annotated[tuple[int, int] | None, BeforeValidator(_autoscale)]
Glob = Annotated[str, AfterValidator(_glob)]


class Queue(BaseModel):
    """One queue: what it takes, and how the worker that consumes it runs. Times in seconds, memory in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    tasks: tuple[Glob, ...] = Field((), description="Names or globs of the Celery tasks it takes")
    imports: tuple[str, ...] = Field((), description="Modules its worker imports; none: what the app imports itself")
    pool: Literal["gevent", "prefork", "threads", "solo", "eventlet"] = Field("prefork", description="Celery's pool")
    concurrency: int = Field(2, ge=1, description="Slots: tasks it runs at once")
    autoscale: Autoscale = Field(None, description='"most,least" slots, in place of concurrency')
    time_limit: float = Field(300, gt=0, description="Seconds a task, or an item of a workflow, may take")
    drain: float = Field(60, ge=0, description="Seconds a stop waits for running tasks")
    memory: Memory = Field(_memory("512M"), description="Memory of its container, such as 512M", validate_default=False)
    cpus: float = Field(1.0, gt=0, description="Processors of its container")
    prefetch: int | None = Field(None, ge=0, description="Messages reserved per slot; 0: no bound; unset: 1")
    max_waiting: int | None = Field(
        None, ge=1, description="Messages beyond which no event is taken in that starts work here; unset: no bound"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", description="Its log level")
    events: bool = Field(
        default=False, description="Celery's task events, which Flower shows; costs half a hot queue's rate"
    )

    @field_validator("tasks")
    @classmethod
    def _default_takes_the_rest_or_names_its_tasks(
        cls, tasks: tuple[str, ...], other: ValidationInfo
    ) -> tuple[str, ...]:
        if EVERYTHING_ELSE in tasks and (other.data.get("name") != DEFAULT_QUEUE or len(tasks) > 1):
            raise ValueError(
                f'"*" stands alone, and only in queues.{DEFAULT_QUEUE}.tasks; name the tasks of this queue'
            )
        return tasks

    @field_validator("autoscale")
    @classmethod
    def _pool_can_scale(cls, autoscale: tuple[int, int] | None, other: ValidationInfo) -> tuple[int, int] | None:
        # Celery's autoscaler ends the whole worker when its pool cannot grow.
        if autoscale and other.data.get("pool") in ("threads", "solo"):
            raise ValueError(f"the {other.data['pool']} pool cannot scale; expected concurrency, or another pool")
        return autoscale

    @property
    def green(self) -> bool:
        """Whether its tasks are greenlets in one process."""
        return self.pool in GREEN_POOLS

    @property
    def prefetch_multiplier(self) -> int:
        """Celery's `worker_prefetch_multiplier`: one message per slot, unless it is set."""
        return self.prefetch if self.prefetch is not None else 1

    @property
    def slots(self) -> int:
        """The most tasks its worker runs at once."""
        return self.autoscale[0] if self.autoscale else self.concurrency

    @property
    def chunk_time_limit(self) -> float:
        """Seconds after which a chunk is hung: it starts no item after one `time_limit`, and that item may take another."""
        return 2 * self.time_limit + CHUNK_MARGIN

    @property
    def stop_wait(self) -> int:
        """Seconds between the stop signal and the kill: `drain < stop_wait`, by derivation."""
        return math.ceil(self.drain) + STOP_MARGIN

    @property
    def stop_grace(self) -> int:
        """Seconds a container's stop takes at most, its `stop_grace_period`: `stop_wait < stop_grace`, by derivation."""
        return self.stop_wait + GRACE_MARGIN

    def takes(self, task: str) -> bool:
        """Whether one of its globs matches this task name."""
        return any(fnmatchcase(task, glob) for glob in self.tasks)


SHAPE_KEYS = tuple(key for key in Queue.model_fields if key not in (*RUN_TIME_KEYS, "name"))
