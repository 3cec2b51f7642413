"""Python programs in, what they print out. Each runs in a process of its own, which begins where all that is not ours is imported.

An interpreter that has to import Celery first takes a second of processor time, and an integration test asks several. So one
process imports, once for each test run, and forks for each program. Nothing of ours is imported before that: it would have read
another program's environment.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

#: What programs of a deployment import that is not ours.
IMPORTED = (
    "asyncio", "celery.app.amqp", "celery.app.control", "celery.backends.redis", "celery.result", "dotenv",
    "kombu.transport.redis", "pydantic_settings", "redis.asyncio", "rich.console", "structlog", "uuid", "yaml",
)  # fmt: skip


class Interpreter:
    """The process that forks; it ends with this one."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="interpreter-")
        atexit.register(shutil.rmtree, folder)
        self.address = f"{folder}/socket"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.address)
        listening.listen()
        number = listening.fileno()
        # Its standard input is what it hears our end by.
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(number)], stdin=subprocess.PIPE, pass_fds=[number]
        )
        listening.close()

    def run(self, code: str, environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
        """What `python -c CODE` prints there, and its exit code."""
        with (
            tempfile.NamedTemporaryFile("r") as out,
            tempfile.NamedTemporaryFile("r") as err,
            socket.socket(socket.AF_UNIX) as asking,
        ):
            asking.settimeout(300)
            asking.connect(self.address)
            files = {"out": out.name, "err": err.name}
            asking.sendall(
                json.dumps({"code": code, "environment": {**environment}, "folder": str(folder), **files}).encode()
            )
            asking.shutdown(socket.SHUT_WR)
            status = asking.recv(16)
            assert status, "the interpreter is gone"
            return subprocess.CompletedProcess([code], int(status), out.read(), err.read())


@cache
def interpreter() -> Interpreter:
    """The one of this test run."""
    return Interpreter()


def serve(listening: socket.socket) -> str:
    """Fork for each program; returns in its process, with its code. Ends the process when whoever started it has ended."""
    import select
    import signal

    for name in IMPORTED:
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listening, 0], [], [])
        if 0 in ready:
            os._exit(0)
        asked, _ = listening.accept()
        if os.fork():
            asked.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listening.close()
        with asked.makefile("rb") as reading:
            program = json.loads(reading.read())
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            asked.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
        asked.close()
        return become(program)


def become(program: Mapping[str, object]) -> str:
    """Take over a program's environment, folder and outputs."""
    os.environ.clear()
    os.environ.update(program["environment"])
    os.chdir(program["folder"])
    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, program["out"], os.O_WRONLY),
        (2, program["err"], os.O_WRONLY),
    ):
        os.dup2(os.open(name, flags), number)
    path = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    # As `python -c` has it; the first is this file's folder.
    sys.path[:] = ["", *path, *sys.path[1:]]
    sys.argv[:] = ["-c"]
    return program["code"]


if __name__ == "__main__":
    _code = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(_code, "<string>", "exec"), sys.modules["__main__"].__dict__)
