"""A publisher as a process of its own: a line of JSON in for each task, a line out that says whether the broker took it."""

from __future__ import annotations

import json
import sys

import redis
from kombu.exceptions import KombuError

from switchyard.errors import SwitchyardError
from switchyard.producer import app


def main() -> None:
    """Publish [name, task, arguments, queue, eta or null] after another until the input ends; [answer, name, reason] for each."""
    for line in sys.stdin:
        name, task, arguments, queue, eta = json.loads(line)
        answer = ["accepted", name, ""]
        try:
            # Tried once: a second try of what the broker took before its answer was lost would run twice, whoever runs it.
            app.send_task(task, args=arguments, task_id=name, queue=queue, eta=eta, retry=False, ignore_result=True)
        except (SwitchyardError, KombuError, redis.RedisError, OSError) as exc:
            answer = ["refused", name, f"{type(exc).__name__}: {exc}"]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
