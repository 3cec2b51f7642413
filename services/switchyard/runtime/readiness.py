"""Whether a supervised program does its work yet: each answers for itself, a mere process id does not count."""

from __future__ import annotations

import urllib.error
import urllib.request

import redis

from switchyard import health
from switchyard.runtime.supervisor import Program
from switchyard.settings import Settings

#: Programs that run once; to have ended well is what they are for.
ONE_SHOT = ("seed",)
#: Programs that, as workers do, say again and again that they work: one that hangs must not pass for ready.
BEATING = ("clock", "consumer")


def is_ready(config: Settings, program: Program) -> bool:
    """Whether this program is ready for work."""
    if program.name in ONE_SHOT:
        return program.state == "EXITED" and program.exit_code == 0
    if program.state != "RUNNING":
        return False
    if program.name == "redis":
        return redis_answers(config)
    if program.name == "flower":
        return _flower_asks_for_credentials(config)
    if program.name in BEATING or health.queue_name(program.name):
        within_s = health.HEARTBEAT_S if program.name in BEATING else health.STALE_S
        return health.is_beating(config.state_dir, program.name, program.pid, within_s=within_s)
    ready = health.is_ready(config.state_dir, program.name, program.pid)
    return ready and (program.name != "producer" or _door_is_open(config))


def has_failed(program: Program) -> bool:
    """Whether supervisord has given it up, or it keeps exiting at start."""
    if program.name in ONE_SHOT:
        return program.state == "FATAL" or (program.state == "EXITED" and program.exit_code != 0)
    return program.state in ("FATAL", "EXITED", "BACKOFF", "UNKNOWN")


def redis_answers(config: Settings) -> bool:
    """Whether the broker does, within seconds."""
    try:
        with redis.Redis.from_url(config.broker_url(), socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _door_is_open(config: Settings) -> bool:
    # Under a name of its own: it answers to no other, 127.0.0.1 included.
    named = {"Host": config.api_hosts.split(",")[0].strip()}
    url = f"http://127.0.0.1:{config.api_port}/readyz"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=named), timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _flower_asks_for_credentials(config: Settings) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{config.flower_port}/", timeout=2)
    except urllib.error.HTTPError as exc:
        return exc.code == 401
    except OSError:
        return False
    return False
