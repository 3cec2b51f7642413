"""The same events through all doors at once, while doors, consumer, clock and worker are killed: one workflow each."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kombu
from tests.support import Deployment, eventually, free_port

from switchyard.broker.events_queue import events_queue
from switchyard.events.acceptance import workflow_id_of
from switchyard.events.event import Event

EVENTS = 1000
QUEUES = """
[queues.default]
tasks = ["*"]
imports = ["project.tasks"]
pool = "threads"
concurrency = 16
time_limit = 5
drain = 1
"""
RULES = '[events."things.happened"]\nworkflow = "spread"\nparameters = { items = "items" }\n'


def event(number: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/tests",
        "type": "things.happened",
        "data": {"items": [number]},
    }


class Sender:
    """Whoever tells events: it sends each until it is told that it was taken, as its contract with the doors is."""

    def __init__(self, port: int, broker_url: str) -> None:
        self.port, self.broker_url = port, broker_url
        self.answers: dict[str, set[str]] = {str(number): set() for number in range(EVENTS)}

    def by_http(self, sent: list[dict[str, Any]]) -> None:
        body = json.dumps(sent if len(sent) > 1 else sent[0])
        headers = {"Authorization": "Bearer of-a-thousand-events", "Content-Type": "application/json"}

        def post() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                connection.request("POST", "/v1/events", body, headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                return False  # killed in the middle: whether it was taken is not known
            finally:
                connection.close()
            assert answer.status in (202, 503), text
            if answer.status == 503:
                assert answer.headers["Retry-After"]
                return False
            told = json.loads(text)
            for one, each in zip(sent, told if isinstance(told, list) else [told], strict=True):
                self.answers[one["id"]].add(each["workflow"])
            return True

        until(post)

    def by_broker(self, sent: list[dict[str, Any]]) -> None:
        with kombu.Connection(self.broker_url) as connection, connection.Producer() as producer:
            for one in sent:
                producer.publish(one, exchange=events_queue().exchange, routing_key="a", declare=[events_queue()])


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 600
    while not done():
        assert time.monotonic() < end, "nobody takes it"
        time.sleep(0.1)


def test_a_thousand_events_sent_three_times_through_all_doors_are_a_thousand_workflows(deployment: Deployment) -> None:
    """With kill -9 of the HTTP door, of the consumer with its starter, of the clock, and of the worker, in between."""
    deployment.queues(QUEUES)
    deployment.events(RULES)
    (deployment.folder / "tokens").write_text("tests:of-a-thousand-events\n")
    port = free_port()
    deployment.environment |= {"API_PORT": str(port), "API_TOKENS_FILE": str(deployment.folder / "tokens")}
    running = {name: deployment.start(name) for name in ("producer", "consumer", "clock")}
    running["worker"] = deployment.start_worker()
    sender = Sender(port, deployment.environment["CELERY_BROKER_URL"])

    every = [event(number) for number in range(EVENTS)]
    ways: list[tuple[Callable[[list[dict[str, Any]]], None], list[dict[str, Any]]]] = [
        *((sender.by_http, [one]) for one in every),
        *((sender.by_http, every[first : first + 10]) for first in range(0, EVENTS, 10)),
        *((sender.by_broker, every[first : first + 10]) for first in range(0, EVENTS, 10)),
    ]
    random.Random(4).shuffle(ways)
    with ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(way, some) for way, some in ways]
        # Here and not in a thread of its own: the programs end with the thread that has started them.
        killed = 0
        while not all(each.done() for each in sending) or killed < 2:
            for name, process in running.items():
                kill(process)
                running[name] = deployment.start_worker() if name == "worker" else deployment.start(name)
            killed += 1
        for each in sending:
            each.result()

    client = deployment.server.client()
    ids = {workflow_id_of(Event.model_validate(one)) for one in every}
    eventually(lambda: client.zcard("switchyard:workflows:all") >= EVENTS, "all to be accepted")

    def unfinished() -> list[str]:
        return [id_ for id_ in ids if client.hget(f"switchyard:workflow:{id_}", "state") != "done"]

    # A killed worker's messages come back by the sweep: longer than anything else here.
    eventually(lambda: not unfinished(), f"all to end; still open: {unfinished()[:5]}", 300)
    assert set(client.zrange("switchyard:workflows:all", 0, -1)) == ids
    assert {len(answers) for answers in sender.answers.values()} == {1}
    assert set().union(*sender.answers.values()) == ids
    assert client.llen("switchyard:refused") == 0
    assert set((deployment.folder / "begun").read_text().split()) == {str(number) for number in range(EVENTS)}


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
