"""What this process has taken from one broker and not settled yet, and what became of the rest until the server knows.

It belongs to no channel, so that a lost connection loses none of it: a task that goes on keeps its lease, and its
acknowledgement finds a way. A lease is held for a message that somebody refers to. One that nobody does, such as what a worker
had reserved when its connection was lost, can never be acknowledged: it goes back at once.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from time import monotonic
from typing import Any, NamedTuple

from kombu.utils.json import dumps

from switchyard.broker import scripts

#: Settlements in one command; more wait for the next.
BATCH = 512
#: Seconds after which nobody refers any more to what a lost connection's worker has dropped: Celery holds a timer for one at most.
COLLECT_S = 2.0
#: Expired leases that one look puts back; the next look is a second away, and every worker looks.
SWEEP = 500


class Settlement(NamedTuple):
    """What became of a message: `ack`, or what settle.lua knows; when is of the monotonic clock. The details are names and values of
    fields in turn, which are kept with what is set aside.
    """

    what: str
    tag: str
    reason: str
    when: float
    details: tuple[str, ...] = ()


class Lease:
    """A message in this process: its queue, and a weak reference to what was handed on of it, if it was; and the reason and details
    for which it is set aside when it is acknowledged, if its task has failed.
    """

    __slots__ = ("failed", "message", "queue")

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.message: weakref.ref[Any] | None = None
        self.failed: tuple[str, tuple[str, ...]] | None = None


class Leases:
    """The leases and settlements of this process at one broker. Any thread or greenlet may call."""

    def __init__(self, channel: Any) -> None:
        self.pid = os.getpid()
        #: What this process' tags begin with, new for each process: nobody else settles or renews what has such a tag.
        self.worker = f"{os.uname().nodename}.{self.pid}.{os.urandom(4).hex()}"
        self.number = 0
        self._expected: dict[int, range] = {}
        self.held: dict[str, Lease] = {}
        #: Those of them that were lost twice or more: each may be what kills its workers.
        self.suspects: set[str] = set()
        self.settlements: deque[Settlement] = deque()
        #: Batches that somebody is sending: if that is cut short by the end of the process, whoever flushes sends them again.
        self._sending: list[list[Settlement]] = []
        #: Queues that are consumed, by the bell of the channel that does; empty when nobody consumes.
        self.consuming: dict[Any, tuple[str, ...]] = {}
        #: Tags whose task has outlived its limit; the worker says so.
        self.overdue: Callable[[], Iterable[str]] = tuple
        self.adopt(channel)

    def adopt(self, channel: Any) -> None:
        """Learn what commands need from a channel that consumes; the latest one's options count."""
        key = channel.key
        self.unacked, self.index = key(channel.unacked_key), key(channel.unacked_index_key)
        self.letters, self.clock, self.workers = (
            key(k) for k in (scripts.DEAD_LETTERS, scripts.CLOCK, scripts.WORKERS)
        )
        self.delayed = tuple(key(k) for k in (scripts.DELAYED, scripts.DELAYED_ENTRIES, scripts.DELAYED_COUNTS))
        self.revoked = key(scripts.REVOKED)
        steps = ",".join(map(str, channel.priority_steps))
        self.home = (channel.global_keyprefix, channel.sep, steps, channel.max_deliveries)
        self.lease, self.visibility_timeout = channel.lease, channel.visibility_timeout
        self._collect_at = monotonic() + COLLECT_S
        gc.collect()

    def ring(self) -> None:
        """There is something to settle, or a suspect less. Everybody who consumes hears it: a task may do so for a while beside its worker."""
        for bell in list(self.consuming):
            bell.ring()

    def collect(self, now: float) -> None:
        """What a lost connection's worker had reserved may be part of a cycle, as a request and its timer are, and lie about with its
        lease until the next collection, which an idle worker hardly ever has. `now` is of the monotonic clock.
        """
        if now > self._collect_at:
            self._collect_at = float("inf")
            if self.held:
                gc.collect()

    @property
    def shift(self) -> float:
        """What a score is ahead of the time: kombu's rule, that a message is lost whose score is `visibility_timeout` seconds
        old, then says that a lease has passed; so stock workers and these agree on every entry.
        """
        return float(self.lease - self.visibility_timeout)

    def expect(self, most: int) -> int:
        """The first number of a fetch of at most so many messages. None is used twice: if its answer is lost, what it has fetched
        still lies there under its tags. From now on these are renewed, too: the answer may be there, and nobody free to read it.
        """
        first, self.number = self.number, self.number + most
        self._expected[first] = range(first, self.number)
        return first

    def forget(self, first: int) -> None:
        """That fetch has come, or never will."""
        self._expected.pop(first, None)

    def take(self, number: int, queue: str, *, suspect: bool) -> str:
        """The tag of a message that has come."""
        tag = f"{self.worker}:{number}"
        self.held[tag] = Lease(queue)
        if suspect:
            self.suspects.add(tag)
        return tag

    def held_of(self, queues: Collection[str]) -> int:
        """How many messages of these queues are held."""
        return sum(lease.queue in queues for lease in self._held().values())

    def owns(self, tag: str) -> bool:
        """Whether this process has taken the message that has this tag, in a fetch of its own."""
        return tag.startswith(self.worker)

    def hand_on(self, tag: str, message: Any, dropped_by: Callable[[], object]) -> None:
        """The message goes to whoever will settle it, and is leased as long as somebody refers to it. If nobody does any more, whoever has
        handed it on is told (`dropped_by`).
        """

        def dropped(_: object) -> None:
            if tag in self.held and os.getpid() == self.pid:  # a forked child drops its copies, too
                self.settle("head", tag)
                dropped_by()

        if lease := self.held.get(tag):
            lease.message = weakref.ref(message, dropped)

    def settle(self, what: str, tag: str, reason: str = "", details: tuple[str, ...] = ()) -> None:
        """Note what became of a message, to be sent with others soon."""
        self.held.pop(tag, None)
        self.suspects.discard(tag)
        self.settlements.append(Settlement(what, tag, reason, monotonic(), details))
        self.ring()

    def hand_back(self) -> None:
        """Everything goes back, uncounted: this worker ends. The oldest last, which is the next to be fetched."""
        for tag in reversed(self._held()):
            self.settle("head", tag)

    def settled(self, older_s: float = 0.0) -> list[Settlement]:
        """The settlements that have waited for at least `older_s` seconds, to be sent: then `sent`, or `again`."""
        batch: list[Settlement] = []
        self._sending.append(batch)
        before = monotonic() - older_s
        while len(batch) < BATCH:
            try:
                settlement = self.settlements.popleft()
            except IndexError:
                break
            if settlement.when > before:
                self.settlements.appendleft(settlement)
                break
            batch.append(settlement)
        if not batch:
            self.sent(batch)
        return batch

    def sent(self, batch: list[Settlement]) -> None:
        """The server knows."""
        self._sending[:] = [other for other in self._sending if other is not batch]

    def again(self, batch: list[Settlement]) -> None:
        """These were not sent, or nobody knows: each counts once however often it is."""
        self.sent(batch)
        self.settlements.extendleft(reversed(batch))

    def under_way(self) -> list[Settlement]:
        """What others are sending just now, and may not have the time to."""
        return [settlement for batch in list(self._sending) for settlement in batch]

    def settling(self, batch: list[Settlement], script: str) -> list[tuple[Any, ...]]:
        """The commands that settle a batch; `script` is the digest of scripts.SETTLE.

        An entry goes before its place in the index: whatever comes between, nothing is left that no sweep finds.
        """
        acked = [s.tag for s in batch if s.what == "ack"]
        rest = [s for s in batch if s.what != "ack"]
        others = [part for s in rest for part in (s.what, s.tag, s.reason, len(s.details), *s.details)]
        commands: list[tuple[Any, ...]] = []
        if acked:
            commands += [("HDEL", self.unacked, *acked), ("ZREM", self.index, *acked)]
        if others:
            keys = (self.unacked, self.index, self.letters, *self.delayed)
            commands.append(("EVALSHA", script, len(keys), *keys, *self.home, *others))
        return commands

    def keeping(self, script: str, *, forget: bool) -> tuple[Any, ...]:
        """The command that renews all leases but the overdue ones, gives back what is due, and sweeps; `script` is the digest of scripts.KEEP."""
        overdue, held = set(self.overdue()), self._held()
        # What is not renewed any more is not waited for either: it runs, or hangs, beside its next delivery.
        self.suspects -= overdue
        count = Counter(lease.queue for lease in held.values())
        consumed = {queue for queues in list(self.consuming.values()) for queue in queues}
        said = dumps({queue: count[queue] for queue in {*consumed, *count}})
        keys = (self.unacked, self.index, self.letters, self.clock, self.workers, *self.delayed, self.revoked)
        arguments = (self.lease, self.visibility_timeout, SWEEP, self.worker, said, int(forget))
        expected = [f"{self.worker}:{number}" for numbers in list(self._expected.values()) for number in numbers]
        ours = (tag for tag in held if tag not in overdue)
        return ("EVALSHA", script, len(keys), *keys, *self.home, *arguments, len(expected), *expected, *ours)

    def lapsed(self, tags: Iterable[bytes]) -> None:
        """These were not there to be renewed: they are settled, or another worker's by now."""
        for tag in tags:
            self.held.pop(tag.decode(), None)
            self.suspects.discard(tag.decode())
            self.ring()

    def _held(self) -> dict[str, Lease]:
        while True:
            try:
                return dict(self.held)
            except RuntimeError:  # it has changed while it was copied
                continue
