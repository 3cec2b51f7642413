"""`make demo`, once everything is up: refreshes every product, makes every report side by side, and says what came of it."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.settings import demo_settings, stand_in
from demo.store import store
from demo.supplier.remote import Remote
from switchyard import progress, workflows
from switchyard.errors import SwitchyardError
from switchyard.producer import app
from switchyard.reports import run
from switchyard.routing import current_queues

out = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo. 0 also when products failed: the demo then shows what a failure looks like; 1 if something could not run."""
    try:
        return make_reports() if refresh() else 1
    except SwitchyardError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nWhat was started goes on without you; `make workflow W=<its id>` says how far it is.", file=sys.stderr)
        return 130


def refresh() -> bool:
    """Start a refresh of all products, follow it, and print what came of it; False if somebody has cancelled it."""
    chosen = demo_settings()
    supplier = Remote(stand_in(chosen.supplier_host, chosen.supplier_port))
    with supplier.turned(latency_ms=chosen.supplier_latency_ms, failure_rate=chosen.supplier_failure_rate):
        before, began = supplier.stats(), time.monotonic()
        workflow_id = workflows.start(app, "refresh_products")
        out.print(
            f"workflow {workflow_id}: the supplier takes {chosen.supplier_latency_ms} ms for a product", markup=False
        )
        meta = progress.follow(workflow_id, out)
        if meta.state == "cancelled":
            out.print(f"The refresh was {meta.reason}. No report was started.", markup=False)
            return False
        out.print(_summary(meta, before, supplier.stats(), time.monotonic() - began))
    if meta.failed:
        out.print(f"The supplier was not told. Which products failed, and why: make workflow W={meta.id}", markup=False)
    return True


def make_reports() -> int:
    """Start every report at once, follow them, and print what came of each; 1 if one was not made."""
    out.print()
    reports = current_queues().reports
    ids = {name: run.start(app, report, {}) for name, report in reports.items()}
    for name, workflow_id in ids.items():
        out.print(f"{name}: workflow {workflow_id}", markup=False)
    return 1 if run.follow(ids, out) else 0


def _summary(meta: workflows.Meta, before: dict[str, Any], after: dict[str, Any], took_s: float) -> Table:
    total, refreshed = store().counts(meta.id)
    posts, keys = (after[key] - before[key] for key in ("status_posts", "distinct_keys"))
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("products in the store", f"{total:,}")
    table.add_row("refreshed by this workflow", f"{refreshed:,}")
    table.add_row("failed", f"{meta.failed:,}")
    table.add_row("callback said", str(meta.reason or meta.result["message"]))
    table.add_row("status posts, distinct keys", f"{posts}, {keys}")
    table.add_row("took", f"{took_s:.1f} s, {meta.total / took_s:,.0f} products a second")
    return table


if __name__ == "__main__":
    sys.exit(main())
