"""Celery's request, as a worker has it for each message, with what Celery asks of it and our record knows better."""

from __future__ import annotations

from typing import Any

from celery.worker import request

from switchyard.hooks import HEADER


class Request(request.Request):
    """A message that a worker has taken."""

    def revoked(self) -> bool:
        """Whether its task is not to run: it was revoked by Celery's means, or starts a workflow that was cancelled."""
        if super().revoked():
            return True
        if not self._starts_workflow() or not _is_cancelled(self.id):
            return False
        # As Celery does it: acknowledged, told to monitors, and never given to the pool.
        self._announce_revoked("cancelled", False, None, False)  # type: ignore[attr-defined]
        return True

    def _starts_workflow(self) -> bool:
        """Only such a task carries its own id as the workflow's (hooks.py): any other costs nothing here."""
        header: Any = self.request_dict.get(HEADER)
        return isinstance(header, dict) and header.get("workflow_id") == self.id


def _is_cancelled(workflow_id: str) -> bool:
    from switchyard.workflows import cancelling  # noqa: PLC0415  Celery's app is not there yet when this is imported

    return cancelling.is_cancelled(workflow_id)
