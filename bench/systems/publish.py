"""python -m bench.systems.publish MODULE: publishes what it is told on its input, and answers when it began and had ended.

A line says a task and how often; the answer is two times of the clock that all processes share.
"""

from __future__ import annotations

import importlib
import sys
import time


def main() -> None:
    """Until its input ends."""
    send = importlib.import_module(sys.argv[1]).send
    for line in sys.stdin:
        task, times = line.split()
        began = time.monotonic()
        send(task, int(times))
        print(began, time.monotonic(), flush=True)


if __name__ == "__main__":
    main()
