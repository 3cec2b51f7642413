"""Events: what happened elsewhere comes in as CloudEvents, one workflow for each goes out."""

from switchyard.events.publishing import publish

__all__ = ["publish"]
