"""Questions about reports in; their names, their artefacts and the artefacts' files out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from switchyard.producer.http.problems import Problem
from switchyard.producer.http.workflows import rfc_3339
from switchyard.queues import expected
from switchyard.reports.storage import Folder, Kept
from switchyard.routing import current_queues
from switchyard.settings import settings

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "html": "text/html; charset=utf-8"}
#: What a page may do at most; its own policy says further which style is its own.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "csv": {"Content-Disposition": 'attachment; filename="{name}"'},
    "html": {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"},
}


async def list_reports(_: Request) -> Response:
    """The reports there are."""
    found = [{"name": name, "links": {"self": f"/v1/reports/{name}"}} for name in current_queues().reports]
    return _json({"reports": found})


async def show_report(request: Request) -> Response:
    """The artefacts of a report that are kept, newest first."""
    name = _known(request)
    found = await asyncio.to_thread(_folder().kept, name)
    return _json({"report": name, "artefacts": [_artefact(name, each) for each in found]})


async def send_file(request: Request) -> Response:
    """A file of an artefact: the table as CSV, or the page."""
    report, file = _known(request), request.path_params["file"]
    content = await asyncio.to_thread(_folder().read, report, file)
    if content is None:
        raise Problem(404, f"The report {report} has no file {file[:120]!r}; /v1/reports/{report} lists those it has.")
    suffix = file.rpartition(".")[2]
    headers = {key: value.format(name=file) for key, value in _HEADERS[suffix].items()}
    headers |= {"X-Content-Type-Options": "nosniff", "Cache-Control": "private"}
    return Response(content, headers=headers, media_type=MEDIA_TYPES[suffix])


def _known(request: Request) -> str:
    name: str = request.path_params["report"]
    if name not in (reports := current_queues().reports):
        raise Problem(404, f"There is no report {name[:80]!r}. {expected(name, reports)}")
    return name


def _folder() -> Folder:
    return Folder(settings().artefacts_dir)


def _artefact(report: str, kept: Kept) -> dict[str, Any]:
    files = [
        {"href": f"/v1/reports/{report}/{kept.stem}.{suffix}", "bytes": size, "media_type": MEDIA_TYPES[suffix]}
        for suffix, size in sorted(kept.sizes.items())
    ]
    return {"name": kept.stem, "made": rfc_3339(kept.made), "files": files}


def _json(value: Any) -> Response:
    return Response(json.dumps(value), media_type="application/json")
