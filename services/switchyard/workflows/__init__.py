"""Workflows: `fan_out` spreads items over tasks and joins their results for one callback; it always ends, or says why."""

from switchyard.workflows.attempts import replay
from switchyard.workflows.cancelling import cancel
from switchyard.workflows.context import Current, current
from switchyard.workflows.fan_out import fan_out, start
from switchyard.workflows.record import Meta, failed_items, read
from switchyard.workflows.results import Results

__all__ = ["Current", "Meta", "Results", "cancel", "current", "failed_items", "fan_out", "read", "replay", "start"]
