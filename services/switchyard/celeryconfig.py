"""What a Celery app takes: `app.config_from_object("switchyard.celeryconfig")`. All of it is derived from settings and queues.

The names are Celery's own: https://docs.celeryq.dev/en/stable/userguide/configuration.html
"""

from __future__ import annotations

import socket

from switchyard import hooks, queue, routing
from switchyard.queues import CELERYS_VISIBILITY_TIMEOUT as _CELERYS
from switchyard.settings import settings

hooks.connect()

_config = settings()
_queues = routing.current_queues()
_own = _queues[_config.queue] if _config.queue else None

broker_url = _config.broker_url()
if _config.broker_is_one_server():
    _module = {"leased": "transport", "stock": "stock"}[_config.broker_transport]
    broker_transport = f"switchyard.broker.{_module}:Transport"
    # What it cannot hand to a task is kept; so is what fails, by hooks.py.
    worker_consumer = "switchyard.worker.consumer:Consumer"
result_backend = _config.result_backend_url()

accept_content = ["application/json"]
task_serializer = "json"
result_serializer = "json"

task_default_queue = queue.DEFAULT_QUEUE
task_default_exchange = queue.DEFAULT_QUEUE
task_default_exchange_type = routing.DEFAULT_EXCHANGE_TYPE
task_default_routing_key = routing.DEFAULT_ROUTING_KEY
task_queues = [routing.consumed_queue(name) for name in _queues.by_name]
task_routes = [routing.route_task]
# A misspelt queue raises at the publisher instead of filling a list that nobody reads.
task_create_missing_queues = False

imports = ["switchyard.workflows.tasks", *(_own.imports if _own else ())]

# At least once: a task is acknowledged when it has ended, and runs again when its worker is lost.
task_acks_late = True
task_reject_on_worker_lost = True
worker_cancel_long_running_tasks_on_connection_loss = False

# Who is gone without a word: the kernel ends a connection from which nothing was heard for so long, in milliseconds and twice in
# seconds. Not every system can all of it. `socket_timeout` is for a Redis that is there, and slow; a worker that was cut off
# would wait that long for each of its connections in turn.
_silence = {"TCP_USER_TIMEOUT": 10_000, "TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2}

# Redis away is no reason to exit: a worker waits for it.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_transport_options = {
    "visibility_timeout": _queues.visibility_timeout,
    # Look for lost messages every five seconds; the stock 100 only delays what is due already.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    # One list per queue: priorities would quadruple what each fetch asks for, and queues replace them.
    "priority_steps": [0],
    "lease": _config.broker_lease,
    "max_deliveries": _config.max_deliveries,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "socket_keepalive_options": {getattr(socket, k): v for k, v in _silence.items() if hasattr(socket, k)},
    "health_check_interval": 25,
    # kombu's ten connections are too few for greenlets that acknowledge at once: acks would be lost.
    "max_connections": 2 * max(q.slots for q in _queues.by_name.values()) + 20,
}
if _config.broker_transport == "leased":
    # Leases are told from what is lost by it, so it is one for all workers, whatever their queues, and the one that stock workers
    # beside them have if nobody has told them otherwise. What runs longer is renewed.
    broker_transport_options["visibility_timeout"] = _CELERYS
result_backend_transport_options = {"visibility_timeout": _queues.visibility_timeout}
# Without it every greenlet opens its own connection to the backend.
result_backend_thread_safe = True
redis_max_connections = 2 * max(q.slots for q in _queues.by_name.values()) + 20

timezone = _config.timezone

# Log lines are ours (hooks.py); Celery would replace the root logger and wrap standard output.
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_prefetch_multiplier = _own.prefetch_multiplier if _own else 1
if _own and _own.green and _config.broker_transport == "stock":
    # Its poller sleeps two seconds at a time without credit: 8 tasks a second instead of hundreds.
    worker_prefetch_multiplier = max(2, worker_prefetch_multiplier) if worker_prefetch_multiplier else 0
# What still runs of a lost connection takes its place in the next one's credit by itself (broker/credit.py). Celery counts on what ends to
# raise it again, and with an autoscale never raises it to more than the slots of just then.
worker_enable_prefetch_count_reduction = _config.broker_transport == "stock"
# A start that imports much on a busy machine must not be taken for a dead child and killed for ever.
worker_proc_alive_timeout = 60
