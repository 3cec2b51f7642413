"""dramatiq's way: a group of one message per product, and its completion callback. Runs in .venv-peers; as a program, it publishes.

The callback is given no results, and none are stored: less than the others do.
"""

from __future__ import annotations

import os

import dramatiq
from bench.fan_out import common
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend


class _Ready(dramatiq.Middleware):
    def after_worker_boot(self, _broker: object, _worker: object) -> None:
        common.ready()


broker = RedisBroker(url=common.redis_url(7))
broker.add_middleware(_Ready())
broker.add_middleware(GroupCallbacks(RedisBackend(url=common.redis_url(7))))
dramatiq.set_broker(broker)


@dramatiq.actor
def update(product_id: int) -> None:
    common.update(product_id)


@dramatiq.actor
def all_updated(items: int) -> None:
    common.done(items)


if __name__ == "__main__":
    items = int(os.environ[common.ITEMS])
    common.begin()
    group = dramatiq.group([update.message(number) for number in range(1, items + 1)])
    group.add_completion_callback(all_updated.message(items))
    group.run()
