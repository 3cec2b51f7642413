"""Whether a supervised program does its work yet: each answers for itself, a mere process id does not count."""

from __future__ import annotations

import urllib.error
import urllib.request

import redis

from switchyard.runtime.supervisor import Program
from switchyard.settings import Settings
from switchyard.worker import health

#: Programs that run once; to have ended well is what they are for.
ONE_SHOT = ("seed",)


def is_ready(config: Settings, program: Program) -> bool:
    """Whether this program is ready for work."""
    if program.name in ONE_SHOT:
        return program.state == "EXITED" and program.exit_code == 0
    if program.state != "RUNNING":
        return False
    if program.name == "redis":
        return _redis_answers(config)
    if program.name == "flower":
        return _flower_asks_for_credentials(config)
    return health.is_ready(config.state_dir, program.name, program.pid)


def has_failed(program: Program) -> bool:
    """Whether supervisord has given it up, or it keeps exiting at start."""
    if program.name in ONE_SHOT:
        return program.state == "FATAL" or (program.state == "EXITED" and program.exit_code != 0)
    return program.state in ("FATAL", "EXITED", "BACKOFF", "UNKNOWN")


def _redis_answers(config: Settings) -> bool:
    try:
        with redis.Redis.from_url(config.broker_url(), socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _flower_asks_for_credentials(config: Settings) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{config.flower_port}/", timeout=2)
    except urllib.error.HTTPError as exc:
        return exc.code == 401
    except OSError:
        return False
    return False
