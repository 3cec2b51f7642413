"""What waits and what runs, as one process reads it and another one is told; and which queue may be removed."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from kombu.utils.json import dumps

from switchyard import hooks
from switchyard.broker import scripts
from switchyard.errors import RuntimeRefusal
from switchyard.events import refused
from switchyard.runtime import counts
from switchyard.runtime.counts import Counts
from switchyard.workflows import record

PROGRAMS = ["worker-default", "worker-a", "consumer", "producer", "redis"]


class Redis:
    """The broker and the backend in one, and as much of them as is asked."""

    lists = {"default": 3, "events": 2, "events\x06\x163": 20, "events\x06\x169": 200, refused.REFUSED: 5}
    #: Of ours by the queue it lay in, of a stock worker by the exchange, which has the queue's name.
    unacked = [("", "default"), ("", "default"), ("a", "task.a"), ("gone", "task.gone")]

    def llen(self, key: str) -> int:
        return self.lists.get(key, 0)

    def zcard(self, key: str) -> int:
        return {record.OUTBOX: 4000, scripts.DEAD_LETTERS: 6}[key]

    def pipeline(self, **_: Any) -> Pipeline:
        return Pipeline(self)

    def lindex(self, key: str, place: int) -> bytes | None:
        assert place == -1
        headers = {"default": {hooks.PUBLISHED: 990.0}, "a": {}}[key]
        return dumps({"headers": headers}).encode()

    def hgetall(self, key: str) -> dict[bytes, bytes]:
        return {scripts.WORKERS: {b"host.1": b'999.0 {"default": 2}'}, scripts.DELAYED_COUNTS: {b"default": b"8"}}[key]

    def time(self) -> tuple[int, int]:
        return 1000, 0

    def hscan_iter(self, key: str) -> Any:
        assert key == "unacked"
        return ((b"tag", dumps([{}, *place]).encode()) for place in self.unacked)


class Pipeline:
    """Answers all at once."""

    def __init__(self, client: Redis) -> None:
        self.client, self.answers = client, []

    def __getattr__(self, command: str) -> Any:
        return lambda *arguments: self.answers.append(getattr(self.client, command)(*arguments))

    def execute(self) -> list[Any]:
        return self.answers


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for client in ("switchyard.workflows.record.client", "switchyard.broker.state.client"):
        monkeypatch.setattr(client, Redis)


@pytest.mark.usefixtures("reached")
def test_what_waits_is_told_of_those_it_waits_for() -> None:
    """A queue's messages, and those its worker holds; for the consumer events of each priority, and what is to be published."""
    assert counts.read(PROGRAMS) == Counts(
        waiting={"worker-default": 3, "worker-a": 0, "consumer": 4222},
        held={"worker-default": 2, "worker-a": 1},
        delayed={"worker-default": 8, "worker-a": 0},
        oldest_s={"worker-default": 10.0},
        refused=5,
        set_aside=6,
    )


@pytest.mark.usefixtures("reached")
def test_another_process_is_told_the_same() -> None:
    """A container reads them, `make` outside of it shows them."""
    found = counts.read(PROGRAMS)
    assert Counts.from_json(found.as_json()) == found


@pytest.mark.parametrize("broken", ["switchyard.workflows.record.client", "switchyard.broker.state.client"])
@pytest.mark.usefixtures("reached")
def test_without_redis_nothing_is_known(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Half of it would be taken for all."""

    def fail(*_: Any) -> None:
        raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(broken, fail)
    assert counts.read(PROGRAMS) == Counts()


@pytest.mark.parametrize(
    ("program", "left", "sentence"),
    [
        # nothing is left of it
        ("worker-a", (0, 0, 0), None),
        # something is: it waits, it runs, it is not due yet
        ("worker-a", (1234, 0, 0), "but 1,234 messages wait in it, 0 run and 0 are delayed. Put its table back until"),
        ("worker-a", (0, 1, 0), "but 0 messages wait in it, 1 run and 0 are delayed."),
        ("worker-a", (0, 0, 4321), "but 0 messages wait in it, 0 run and 4,321 are delayed."),
        # nobody knows
        ("worker-a", None, "cannot be seen while Redis or every worker is away. Put its table back and say make up, or say FORCE=1"),
        # no queue goes with another program
        ("supplier", None, None),
    ],
)  # fmt: skip
def test_a_queue_with_work_in_it_is_not_removed(
    program: str, left: tuple[int, int, int] | None, sentence: str | None
) -> None:
    """Nobody would ever do that work."""
    known = Counts(*({program: number} for number in left)) if left else Counts()
    if sentence is None:
        counts.refuse_to_remove([program], known)
        return
    with pytest.raises(RuntimeRefusal) as said:
        counts.refuse_to_remove([program], known)
    assert str(said.value).startswith("The queue 'a' is not in queues.toml any more, ")
    assert sentence in str(said.value)


def test_one_queue_with_work_among_those_that_go_is_enough() -> None:
    """All of them stay."""
    with pytest.raises(RuntimeRefusal, match="The queue 'b'"):
        counts.refuse_to_remove(
            ["worker-a", "worker-b"],
            Counts(*({"worker-a": 0, "worker-b": number} for number in (1, 0, 0))),
        )
