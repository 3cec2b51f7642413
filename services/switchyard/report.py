"""One report's table in queues.toml: its keys, and the two queues and the tasks that follow from its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from switchyard.queue import Queue

#: Gives a worker the tasks of its report.
TASKS_MODULE = "switchyard.reports.tasks"
#: Starts a report; its data names which, and holds the parameters.
REPORT_EVENT = "report.requested"
#: What a report's table says of its queues: all of a queue's keys but those that the report itself decides.
DERIVED_KEYS = ("name", "tasks", "imports")
QUEUE_KEYS = tuple(key for key in Queue.model_fields if key not in DERIVED_KEYS)


def _module(value: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", value):
        raise ValueError("expected a Python module, such as proj.tasks.reports.sales")
    return value


class Report(BaseModel):
    """A report: where its code is, how often a partition may fail, and how long its artefacts are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    module: Annotated[str, AfterValidator(_module)] = Field(
        description="The module with partitions, aggregate and report"
    )
    schedule: str | None = Field(None, description="A cron line on which the clock starts it")
    retries: int = Field(1, ge=0, le=10, description="How often a partition that raised is tried again")
    keep: int = Field(100, ge=1, description="Artefacts kept, the newest ones")
    keep_days: int = Field(90, ge=1, description="Days an artefact is kept")

    @property
    def aggregator_queue(self) -> str:
        """The queue of its many partial aggregates."""
        return f"{self.name}_aggregator_queue"

    @property
    def report_queue(self) -> str:
        """The queue of what happens once per report: its start and its artefact."""
        return f"{self.name}_report_queue"

    @property
    def start_task(self) -> str:
        """The task that fans it out; its keyword arguments are the report's parameters."""
        return f"reports.{self.name}"

    @property
    def aggregate_task(self) -> str:
        """The task that aggregates one partition."""
        return f"reports.{self.name}.aggregate"

    @property
    def report_task(self) -> str:
        """The task that makes the artefact."""
        return f"reports.{self.name}.report"

    @property
    def prune_task(self) -> str:
        """The task that removes artefacts that are no longer kept."""
        return f"reports.{self.name}.prune"

    @property
    def queues(self) -> tuple[str, str]:
        """Both queues."""
        return self.aggregator_queue, self.report_queue

    def queue_tables(self, keys: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The tables of both queues, as somebody would have written them; `keys` are the report's own for its queues.

        One artefact is made at a time, unless the report queue's own table says more: its slots are few and large.
        """
        imports = [self.module, TASKS_MODULE]
        once = {key: value for key, value in keys.items() if key not in ("concurrency", "autoscale")}
        return {
            self.aggregator_queue: {**keys, "tasks": [self.aggregate_task], "imports": imports},
            self.report_queue: {
                **once,
                "concurrency": 1,
                "tasks": [self.start_task, self.report_task, self.prune_task],
                "imports": imports,
            },
        }


REPORT_KEYS = tuple(key for key in Report.model_fields if key != "name")
