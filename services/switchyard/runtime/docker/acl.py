"""Queues and passwords in, Redis' ACL file out: a user per role, each with the keys, channels and commands that its work needs.

The syntax is Redis', https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/; names of keys are kombu's,
Celery's and ours. It needs Redis 7 or Valkey 7.2, for keys that may only be written or only be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from switchyard.broker.events_queue import PRIORITY_LISTS

#: Roles, each with a password of its own. `health` is the probe's, `admin` is only used inside Redis' own container.
ROLES = ("worker", "producer", "flower", "health", "admin")

#: What kombu keeps besides the queues: what was fetched and not acknowledged, and which queue is bound to what.
_UNACKED = ("unacked*", "_kombu.binding*")
#: Control commands and their answers, task events. Channels as kombu subscribes to them, in database 0: PSUBSCRIBE is allowed
#: for these very patterns only.
_CONTROL_KEYS, _CONTROL_CHANNELS = ("*.pidbox*", "celeryev*"), ("/0.celery.pidbox", "/0.celeryev/*")
_RESULTS = ("celery-task-meta-*", "celery-taskset-meta-*")
_OURS = ("switchyard:*",)

#: Nobody but `admin` stops or configures the server, empties it, lists its keys or its clients.
_NOTHING_DANGEROUS = "+@all -@admin -@dangerous"


#: How each role may use the queues: a worker as it likes, a producer to write, Flower to look.
_USE_OF_QUEUES = {"worker": "", "producer": "%W", "flower": "%R"}


def users(queues: Iterable[str], passwords: Mapping[str, str]) -> str:
    """The file. Passwords are in it as hashes only."""
    events, own = _lists(PRIORITY_LISTS), additions(queues)
    rules = {
        "worker": [*own["worker"], *_keys(*events, *_UNACKED, *_CONTROL_KEYS, *_RESULTS, *_OURS),
                   *_channels(*_CONTROL_CHANNELS, *_RESULTS), _NOTHING_DANGEROUS, "+info"],
        # It writes to queues and reads none but the events'; results of tasks, control commands and events are not its business.
        "producer": [*own["producer"], *_keys(*events, "_kombu.binding*", *_OURS), "resetchannels", _NOTHING_DANGEROUS,
                     "-@pubsub", "+info"],
        "flower": [*own["flower"], *_keys("_kombu.binding*", *_CONTROL_KEYS), *_keys(*_RESULTS, mode="%R"),
                   *_channels(*_CONTROL_CHANNELS, *_RESULTS), _NOTHING_DANGEROUS, "+info"],
        "health": ["-@all", "+ping"],
        "admin": ["~*", "&*", "+@all"],
    }  # fmt: skip
    lines = [f"user {role} on {_hashed(passwords[role])} {' '.join(rules[role])}" for role in ROLES]
    # Nobody without a name and a password. The default user may do everything, and nobody can become it: Redis reads its own
    # append-only file as this user, and would leave out every transaction that it may not repeat.
    return "\n".join(["user default off resetpass ~* &* +@all", *lines, ""])


def additions(queues: Iterable[str]) -> dict[str, list[str]]:
    """For each role that uses queues the rules, for ACL SETUSER, that let it use these besides what it may do already.

    ACL LOAD would do as well, and cut every connection of a role whose rules have changed: tasks that run could not be
    acknowledged any more, and would run again.
    """
    queues = tuple(queues)
    return {role: _keys(*queues, mode=mode) for role, mode in _USE_OF_QUEUES.items()}


def _keys(*patterns: str, mode: str = "") -> list[str]:
    return [f"{mode}~{pattern}" for pattern in patterns]


def _channels(*patterns: str) -> list[str]:
    return ["resetchannels", *(f"&{pattern}" for pattern in patterns)]


def _lists(names: Iterable[str]) -> tuple[str, ...]:
    """Names that kombu makes with control characters; a pattern in the file takes any one character for each."""
    return tuple("".join(c if c.isprintable() else "?" for c in name) for name in names)


def _hashed(password: str) -> str:
    return f"#{sha256(password.encode()).hexdigest()}"
