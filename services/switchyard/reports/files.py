"""An artefact in, its files out, into a store: the last step of every report."""

from __future__ import annotations

from switchyard.reports.artefact import Artefact
from switchyard.reports.naming import Facts, stem
from switchyard.reports.page import render_html
from switchyard.reports.spreadsheet import render_csv
from switchyard.reports.storage import Store
from switchyard.reports.validation import validate


def store(artefact: Artefact, facts: Facts, into: Store) -> list[str]:
    """Store the artefact as CSV and as a page; returns where. Raises ReportError for what is wrong with it, or with the store."""
    validate(artefact)
    files = {"csv": render_csv(artefact), "html": render_html(artefact, facts)}
    return into.put(facts.report, stem(artefact, facts), files)
