"""Reports: what the module of one needs from the core. Partitions are aggregated side by side, then one artefact is made.

A report's module has `partitions(parameters)`, `aggregate(partition)` and `report(partials, parameters)`, and may have a
`Parameters` of its own; `[reports.<name>]` in queues.toml names the module. docs/reports.md is the tutorial.
"""

from switchyard.reports.artefact import Artefact, Cell, Chart, Series
from switchyard.reports.parameters import Parameters
from switchyard.reports.period import Period
from switchyard.reports.share import Share, own_share

__all__ = ["Artefact", "Cell", "Chart", "Parameters", "Period", "Series", "Share", "own_share"]
