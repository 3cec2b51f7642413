"""The article's way, on stock Celery: a group of one task per product, and a task that is called with all results.

    python -m bench.fan_out.article update|no_op

publishes BENCH_ITEMS of them and prints its own peak memory, in bytes.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

from bench.fan_out import common, work
from celery import Celery, chain, group
from celery.signals import worker_ready

app = Celery("article", broker=common.redis_url(6), backend=common.redis_url(6))


@app.task(name="update_product_details")
def update_product_details(product_id: int) -> dict[str, Any]:
    return work.update(product_id)


@app.task(name="update_status_through_callback")
def update_status_through_callback(grouped_result: Any) -> dict[str, Any]:
    return work.all_updated(grouped_result)


@app.task(name="no_op")
def no_op(item: int) -> int:
    return item


@app.task(name="count")
def count(results: Any) -> int:
    common.done(len(results))
    return len(results)


@worker_ready.connect
def _say_so(**_: Any) -> None:
    common.ready()


if __name__ == "__main__":
    each, then = {"update": (update_product_details, update_status_through_callback), "no_op": (no_op, count)}[
        sys.argv[1]
    ]
    common.begin()
    chain(group([each.s(number) for number in range(1, int(os.environ[common.ITEMS]) + 1)]), then.s()).apply_async()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
