"""The doors of a deployment that is up: what is told to any of them starts one workflow, and nothing that is told is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
import uuid
from contextlib import closing

import pytest
from kombu import Connection, Exchange
from tests.support import eventually

DOORS = ("producer", "consumer", "clock")


def event(kind: str, **data) -> dict:
    """A CloudEvent with an id of its own."""
    return {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/tests/doors", "type": kind, "data": data}


def publish(up, told: dict) -> None:
    """Publish to the broker as somebody else's application does, which knows the exchange's name and nothing else."""
    password = (up.state / "secrets" / "redis_password").read_text().strip()
    exchange = Exchange("events", type="topic", durable=True)
    with Connection(f"redis://:{password}@127.0.0.1:{up.ports['REDIS_PORT']}/0") as connection:
        # Declared by the producer: kombu takes an exchange that was not for a direct one, and drops the message.
        connection.Producer(exchange=exchange, serializer="json").publish(told, routing_key="any.key")


def workflows_of(up, told: dict) -> list[dict]:
    """The workflows that this event has started."""
    found = up.ask("GET", "/v1/workflows?limit=100").body.get("workflows", [])  # while Redis is slow, it says so
    return [each for each in found if each["event"] and each["event"]["id"] == told["id"]]


def test_a_request_is_answered_with_the_place_of_its_workflow(up):
    """202 at once; followed to its end, every product is refreshed and the supplier is told once."""
    answer = up.ask("POST", "/v1/products/refresh", {"limit": 200})
    assert answer.status == 202
    ended = up.ended(answer.headers["Location"])
    assert (ended["state"], ended["done"], ended["failed"]) == ("done", 200, 0)
    assert ended["result"]["message"] == "updated status"
    assert up.refreshed_by(ended["id"]) == 200
    assert (up.state / "supplier" / "keys").read_text().split().count(f"{ended['id']}/1") == 1


@pytest.mark.parametrize("door", ["http", "broker"])
def test_an_event_refreshes_its_one_product_once(up, door):
    """Whichever door it is told to; told again to the other one, it finds the workflow that it has started."""
    (product,) = row_of(up, "SELECT product_id FROM products WHERE refreshed_at IS NULL LIMIT 1")
    told = event("product.updated", product_id=product)
    if door == "http":
        assert up.ask("POST", "/v1/events", told).status == 202
    else:
        publish(up, told)
    [workflow] = eventually(lambda: workflows_of(up, told), "the event's workflow")
    ended = up.ended(workflow["links"]["self"])
    assert ended["result"] == {"status": True, "message": "successfully updated"}
    assert row_of(up, f"SELECT refreshed_at IS NULL FROM products WHERE product_id = {product}") == (0,)

    publish(up, told)
    repeated = up.ask("POST", "/v1/events", told)
    assert (repeated.status, repeated.body["state"], repeated.body["workflow"]) == (202, "repeated", ended["id"])
    eventually(lambda: waiting(up) == "0", "the broker's copy to be taken in")
    assert len(workflows_of(up, told)) == 1
    assert "No refused event is kept." in up.ok("refused")


def row_of(up, query: str) -> tuple:
    """The first row that the products' store has for this query."""
    with closing(
        sqlite3.connect(f"file:{up.state / 'store' / 'products.db'}?mode=ro", uri=True, timeout=30)
    ) as database:
        return database.execute(query).fetchone()


def waiting(up) -> str:
    """What `make ps` says that waits for the consumer."""
    return next(line.split()[-1] for line in up.make("ps").stdout.splitlines() if line.startswith("consumer "))


def test_a_token_counts_from_its_line_being_written_until_it_is_deleted(up):
    """Nothing is restarted for it, and the other tokens go on."""
    before, text = up.pids(), up.tokens.read_text()
    assert up.ask("GET", "/v1/workflows", token="guest-token").status == 401
    up.tokens.write_text(f"{text}guest:guest-token\n")
    assert up.ask("GET", "/v1/workflows", token="guest-token").status == 200
    up.tokens.write_text(text)
    assert up.ask("GET", "/v1/workflows", token="guest-token").status == 401
    assert up.ask("GET", "/v1/workflows").status == 200
    assert up.pids() == before
    assert "Everything is ready." in up.ok("up")
    assert (up.pids(), up.tokens.read_text()) == (before, text)


@pytest.mark.parametrize("name", DOORS)
def test_each_door_can_be_restarted_by_itself(up, name):
    """`make restart Q=` waits until it is ready, and leaves the others alone."""
    before = up.pids()
    up.ok("restart", f"Q={name}")
    after = up.pids()
    assert {program for program in before if after[program] != before[program]} == {name}
    assert up.ended(up.ask("POST", "/v1/products/refresh", {"limit": 1}).headers["Location"])["state"] == "done"


@pytest.mark.parametrize("name", DOORS)
def test_what_was_accepted_is_done_though_a_door_is_killed(up, name):
    """kill -9 among fifty events, to both doors: the supervisor has it back, and each event has its workflow."""
    told = [event("product.updated", product_id=product) for product in range(1, 51)]
    killed = up.pids()[name]
    accepted = 0
    for place, each in enumerate(told):
        if place == 25:
            os.kill(killed, signal.SIGKILL)
        if place % 2:
            publish(up, each)
        else:
            eventually(lambda each=each: _taken(up, each), "the HTTP door to answer")
            accepted += 1
    eventually(lambda: up.pids().get(name, killed) != killed and up.states().get(name) == "ready", f"{name} to be back")
    for each in told:
        [workflow] = eventually(lambda each=each: workflows_of(up, each), "each event's workflow")
        assert up.ended(workflow["links"]["self"])["state"] == "done"
    assert accepted == 25


def _taken(up, told: dict) -> bool:
    """Send an event as a patient caller does: again while there is no answer."""
    try:
        return up.ask("POST", "/v1/events", told).status == 202
    except OSError:
        return False


def test_an_event_of_an_unknown_type_is_kept_until_somebody_knows_it(up):
    """Told in `make ps` and `make refused`; with a table of its own, sent again, it starts its workflow."""
    told = event("warehouse.counted", shelves=7)
    publish(up, told)
    eventually(lambda: "1 refused event is kept: make refused" in up.make("ps").stdout, "the refused event to be told")
    shown = up.ok("refused")
    assert "type: nothing waits for 'warehouse.counted'." in shown
    assert '"shelves": 7' in shown

    # Sent again too early, it is refused again, and not lost.
    assert "Sent again: 1." in up.ok("refused", "DO=retry")
    eventually(lambda: told["id"] in up.make("refused").stdout, "the event to be refused again")

    with (up.folder / "config" / "events.toml").open("a") as file:
        file.write(
            '\n[events."warehouse.counted"]\nworkflow = "refresh_products"\nparameters = { limit = "shelves" }\n'
        )
    up.ok("up")
    assert "Sent again: 1." in up.ok("refused", "DO=retry")
    [workflow] = eventually(lambda: workflows_of(up, told), "the event's workflow")
    ended = up.ended(workflow["links"]["self"])
    assert (ended["state"], ended["done"]) == ("done", 7)
    assert "No refused event is kept." in up.ok("refused")
    assert "refused" not in up.make("ps").stdout


def test_refused_events_are_dropped_when_it_is_said(up):
    """All of them, and how many those were; anything but the two words is a sentence."""
    for _ in range(3):
        publish(up, {"no": "event"})
    eventually(lambda: "3 refused events are kept" in up.make("ps").stdout, "the refused events to be told")
    refused = up.make("refused", "DO=d")
    assert refused.returncode != 0
    assert "unrecognized arguments: --d" in refused.stdout
    assert "Dropped: 3." in up.ok("refused", "DO=drop")
    assert "Dropped: 0." in up.ok("refused", "DO=drop")


def test_ps_tells_of_every_program_while_redis_hangs(up):
    """What waits is not known then, and is left out; nobody waits for it queue by queue."""
    programs, redis = up.states().keys(), up.pids()["redis"]
    os.kill(redis, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = up.make("ps")
        took = time.monotonic() - began
    finally:
        os.kill(redis, signal.SIGCONT)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()[1:]}
    assert programs <= rows.keys()
    assert (rows["redis"][1], rows["producer"][1], rows["worker-default"][-1]) == ("starting", "starting", "s")
    assert took < 20
    eventually(lambda: set(up.states().values()) == {"ready"}, "all to be ready again")
