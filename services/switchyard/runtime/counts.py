"""What waits and what runs, by program, and how many events were refused; read by a process that reaches Redis, as JSON for one that does not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import redis

from switchyard.broker import dead_letters, state
from switchyard.broker.events_queue import PRIORITY_LISTS
from switchyard.errors import RuntimeRefusal
from switchyard.events import refused
from switchyard.health import program_name, queue_name
from switchyard.queues import Queues
from switchyard.settings import Settings
from switchyard.workflows import record


@dataclass(frozen=True)
class Counts:
    """Messages that wait for a program, for the consumer the events in the broker and the workflows to be published; messages that
    a queue's worker holds, running or reserved; messages that are not due yet; the seconds for which a queue's first has waited; and
    what was kept of refused events and set-aside messages. What cannot be read is missing.
    """

    waiting: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    delayed: dict[str, int] = field(default_factory=dict)
    oldest_s: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    set_aside: int = 0

    def as_json(self) -> str:
        """For `from_json`, in another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Counts:
        """What `as_json` made."""
        return cls(**json.loads(text))


def read(programs: Iterable[str]) -> Counts:
    """Of these programs. Nothing while Redis is away."""
    queues = {program: queue for program in programs if (queue := queue_name(program))}
    try:
        held, found = state.held(queues.values()), state.of_queues(queues.values())
        waiting = {program: found[queue].waiting for program, queue in queues.items()}
        waiting["consumer"] = sum(map(state.waiting, PRIORITY_LISTS)) + record.client().zcard(record.OUTBOX)
        return Counts(
            waiting,
            held={program: held[queue] for program, queue in queues.items()},
            delayed={program: found[queue].delayed for program, queue in queues.items()},
            oldest_s={program: age for program, queue in queues.items() if (age := found[queue].oldest_s) is not None},
            refused=refused.count(),
            set_aside=dead_letters.count(),
        )
    except redis.RedisError:
        return Counts()


def note_queues(config: Settings, queues: Queues) -> None:
    """Remember the queues that the deployment has now."""
    (config.state_dir / "queues").write_text("".join(f"{name}\n" for name in queues.by_name))


def removed(config: Settings, queues: Queues) -> list[str]:
    """The workers of queues that the deployment had and that are in no file any more, whether they run or not."""
    try:
        names = (config.state_dir / "queues").read_text().split()
    except OSError:
        return []
    return [program_name(name) for name in names if name not in queues.by_name]


def refuse_to_remove(programs: Iterable[str], counts: Counts) -> None:
    """Raises RuntimeRefusal for a queue's worker that is to go while work of its queue is left: nobody would ever do it."""
    for program in programs:
        queue = queue_name(program)
        if not queue:
            continue
        if program not in counts.waiting:
            raise RuntimeRefusal(
                f"The queue {queue!r} is not in queues.toml any more, and what is left in it cannot be seen while Redis "
                "or every worker is away. Put its table back and say make up, or say FORCE=1 make up to leave its work undone."
            )
        waiting, held, delayed = counts.waiting[program], counts.held[program], counts.delayed.get(program, 0)
        if waiting or held or delayed:
            raise RuntimeRefusal(
                f"The queue {queue!r} is not in queues.toml any more, but {waiting:,} messages wait in it, {held:,} run and "
                f"{delayed:,} are delayed. Put its table back until they are done, or say FORCE=1 make up to leave them undone."
            )
