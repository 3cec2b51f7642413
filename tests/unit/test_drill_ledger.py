"""What a drill counts: its ledger, its promises, and the dishonest payloads that it puts into a list."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.drills import payloads
from bench.drills.__main__ import options_for, parsed
from bench.drills.kinds import KINDS
from bench.drills.ledger import Kill, Ledger, percentile
from bench.drills.outcome import COLUMNS, Outcome, complaints
from bench.drills.proxy import Proxy

FIRST, SECOND, THIRD = 11, 22, 33


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger")
    yield made
    made.close()


def write(ledger: Ledger, *lines: str) -> None:
    with Path(ledger._file.name).open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))
    ledger.read()


def test_a_ledger_counts_what_was_begun_again_ended_twice_and_lost(ledger: Ledger) -> None:
    write(ledger, f"begun solo.1 {FIRST} 1 1.0", f"begun solo.2 {FIRST} 1 1.1", f"ended solo.2 {FIRST} 1 1.2")
    write(ledger, f"begun solo.1 {SECOND} 2 7.0", f"begun solo.2 {SECOND} 2 7.1", f"ended solo.2 {SECOND} 2 7.2")
    names = ["solo.1", "solo.2", "solo.3"]
    assert (ledger.again(names), ledger.twice(names), ledger.lost(names)) == (2, 1, ["solo.1", "solo.3"])
    assert ledger.done["solo"] == 1
    assert [entry.name for entry in ledger.running(FIRST)] == ["solo.1"]


def test_a_line_that_is_not_whole_yet_is_read_when_it_is(ledger: Ledger) -> None:
    with Path(ledger._file.name).open("a") as file:
        file.write("begun solo.1 1")
        file.flush()
        assert not ledger.read().begins
        file.write("1 1 1.0\n")
    assert ledger.read().begins["solo.1"][0].worker == FIRST


def test_a_recovery_is_measured_from_the_kill_to_the_next_begin_of_what_was_in_hand(ledger: Ledger) -> None:
    write(ledger, f"begun solo.1 {FIRST} 1 1.0", f"begun solo.2 {FIRST} 1 1.0", f"ended solo.2 {FIRST} 1 1.5")
    write(ledger, f"begun solo.1 {SECOND} 2 7.5", f"begun solo.2 {SECOND} 2 7.5")
    assert ledger.recoveries([Kill("solo", FIRST, 2.0)]) == [5.5]


def test_a_recovery_in_which_another_worker_of_the_queue_was_killed_is_not_measured(ledger: Ledger) -> None:
    write(ledger, f"begun solo.1 {FIRST} 1 1.0", f"begun solo.1 {THIRD} 3 12.0")
    first, second = Kill("solo", FIRST, 2.0), Kill("solo", SECOND, 6.0)
    assert ledger.recoveries([first, second]) == []
    assert ledger.recoveries([first, Kill("gevent", SECOND, 6.0)]) == [10.0]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.99, 3.0), (1, 3.0), (0.01, 1.0)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([3.0, 1.0, 2.0], share) == expected


def test_of_nothing_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="of nothing"):
        percentile([], 0.5)


def test_an_outcome_complains_of_what_was_lost_repeated_too_often_or_late() -> None:
    outcome = Outcome("workers", "solo", "leased", 1, 10, 9, 5, 0, 1, 0, [9.0], bound=4)
    outcome.lose_nothing()
    outcome.recover_within(7)
    assert complaints([outcome]) == [
        "workers, solo, leased: 1 accepted tasks never ran to their end; none may be lost.",
        "workers, solo, leased: 5 tasks were begun again; at most 4 may be.",
        "workers, solo, leased: p99 of the recoveries is 9.0 s; at most 7 s are promised.",
    ]
    assert dict(zip(COLUMNS, outcome.cells(), strict=True))["holds"] == "no"


def test_an_outcome_that_kept_its_promises_says_nothing() -> None:
    outcome = Outcome("workers", "solo", "leased", 1, 10, 10, 0, 0, 0, 0)
    outcome.lose_nothing()
    outcome.recover_within(7)
    assert complaints([outcome]) == []
    assert dict(zip(COLUMNS, outcome.cells(), strict=True))["holds"] == "yes"


def test_every_kind_says_what_it_does_and_has_a_short_and_a_full_form() -> None:
    for kind in KINDS.values():
        assert kind.sentence
        short, full = (options_for(kind, parsed(arguments)) for arguments in ([], ["--full"]))
        assert 0 < short.rounds <= full.rounds


def test_only_the_pools_that_were_asked_for_are_drilled() -> None:
    assert options_for(KINDS["workers"], parsed(["--pools", "gevent"])).pools == ("gevent",)
    assert options_for(KINDS["children"], parsed(["--pools", "gevent"])).pools == ()


def test_the_names_of_dishonest_tasks_are_those_in_their_messages() -> None:
    for name, payload in [
        *payloads.spoofed("solo", ["a", "b"]),
        ("solo.x", json.dumps(payloads.valid("solo.x", "solo"))),
    ]:
        assert json.loads(payload)["headers"]["id"] == name
    names = [name for name, _ in payloads.counted("solo")]
    assert len(set(names)) == len(names)


def test_no_nonsense_is_a_message() -> None:
    limit = sys.getrecursionlimit()
    for payload in payloads.nonsense():
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            continue
        assert not (isinstance(message, dict) and "body" in message), payload[:50]
    assert sys.getrecursionlimit() == limit


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Answers each connection with what it says, until that ends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def echo(one: socket.socket) -> None:
        with one:
            while data := one.recv(100):
                one.sendall(data)

    def serve() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(one,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_silent_proxy_holds_back_what_is_said_and_a_refusing_one_hangs_up(server: socket.socket) -> None:
    proxy = Proxy(server.getsockname()[1])
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as near:
            near.sendall(b"heard")
            assert near.recv(5) == b"heard"

            proxy.silence()
            near.sendall(b"later")
            near.settimeout(0.3)
            with pytest.raises(TimeoutError):
                near.recv(5)

            proxy.restore()
            near.settimeout(10)
            assert near.recv(5) == b"later"

            proxy.refuse()
            assert near.recv(5) == b""
    finally:
        proxy.close()
