"""compose/healthy, a container's probe, run by the bash it is written for: what it says, and that it always ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support import ROOT, free_port

#: As it is in a container, and where a test can write: the folder of what programs say.
SAID_IN = "/var/lib/switchyard/run"

#: What the image has.
NEEDS = "((BASH_VERSINFO >= 5)) && stat -c %Y / && command -v timeout"
CAN_RUN = (
    shutil.which("bash") and not subprocess.run(["bash", "-c", NEEDS], capture_output=True, check=False).returncode
)

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="there is no bash 5 with GNU's stat and timeout here")


@pytest.fixture
def healthy(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run the probe, of which only that folder is another; its exit code and what it says."""
    script = tmp_path / "healthy"
    text = (ROOT / "compose" / "healthy").read_text()
    assert text.count(SAID_IN) == 1
    script.write_text(text.replace(SAID_IN, str(tmp_path)))

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", str(script), *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        # nothing, something else, too little, too much
        [], ["nonsense"], ["beat"], ["beat", "clock"], ["beat", "clock", "15", "x"],
        ["http", "8000", "/"], ["http", "8000", "/", "200", "host", "x"],
        # what it calls inside
        ["sick", "x"], ["ask", "8000", "/"],
    ],
)  # fmt: skip
def test_another_call_is_told_how(healthy: Callable[..., tuple[int, str]], arguments: list[str]) -> None:
    """A typing error in a Compose file is no healthy container."""
    code, said = healthy(*arguments)
    assert (code, said) == (1, "usage: healthy beat NAME SECONDS | healthy http PORT PATH STATUS [HOST]\n")


# --- beat


def test_who_has_just_said_that_it_lives_is_healthy(healthy: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """Without a word."""
    (tmp_path / "worker-a.ready").touch()
    assert healthy("beat", "worker-a", "10") == (0, "")


def test_who_said_it_too_long_ago_is_not(healthy: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """With how long that is, and what was expected."""
    file = tmp_path / "worker-a.ready"
    file.touch()
    before = time.time() - 100
    os.utime(file, (before, before))
    code, said = healthy("beat", "worker-a", "10")
    assert code == 1
    assert said.startswith("worker-a said 10")
    assert said.endswith(" s ago that it is alive; expected that less than 10 s ago.\n")


def test_who_has_never_said_it_is_not(healthy: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """With the file that is not there."""
    (tmp_path / "clock.ready").touch()
    assert healthy("beat", "worker-a", "10") == (
        1, f"worker-a has not said that it is alive: there is no {tmp_path}/worker-a.ready.\n"
    )  # fmt: skip


# --- http


class Answers(BaseHTTPRequestHandler):
    """`/<status>` with that status and a body of more than one line; what was asked for is kept."""

    asked: list[tuple[str, str | None]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        self.send_response(int(self.path[1:]))
        self.end_headers()
        self.wfile.write(b"HTTP/1.0 999 not a status\r\n\n" * 3)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    """The port of one that answers."""
    Answers.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as started:
        thread = threading.Thread(target=started.serve_forever)
        thread.start()
        yield str(started.server_port)
        started.shutdown()
        thread.join()


@pytest.fixture
def raw() -> Iterator[Callable[[bytes | None], str]]:
    """The port of a server that reads a request, sends these bytes, and hangs up; None: it never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads = []

        def serve(answer: bytes) -> None:
            connection, _ = listening.accept()
            with connection:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += connection.recv(4096)
                connection.sendall(answer)

        def start(answer: bytes | None) -> str:
            # Without anybody who accepts, the kernel takes the connection, and nobody reads from it.
            if answer is not None:
                threads.append(threading.Thread(target=serve, args=(answer,)))
                threads[-1].start()
            return str(listening.getsockname()[1])

        yield start
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("status", ["200", "401", "503"])
def test_a_server_that_answers_as_expected_is_healthy(
    healthy: Callable[..., tuple[int, str]], server: str, status: str
) -> None:
    """Whichever that is: Flower is well while it asks for credentials. Asked once, under the name that is given."""
    assert healthy("http", server, f"/{status}", status) == (0, "")
    assert healthy("http", server, f"/{status}", status, "shop.example") == (0, "")
    assert Answers.asked == [(f"/{status}", "localhost"), (f"/{status}", "shop.example")]


def test_a_server_that_answers_otherwise_is_not(healthy: Callable[..., tuple[int, str]], server: str) -> None:
    """With both statuses."""
    assert healthy("http", server, "/503", "200") == (1, f"/503 on port {server} answered 503; expected 200.\n")


@pytest.mark.parametrize("answer", [b"", b"\r\n", b"nonsense\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1\r\n"])
def test_what_is_no_http_is_no_answer(
    healthy: Callable[..., tuple[int, str]], raw: Callable[[bytes | None], str], answer: bytes
) -> None:
    """Somebody else has the port."""
    port = raw(answer)
    assert healthy("http", port, "/", "200") == (1, f"/ on port {port} answered no HTTP; expected 200.\n")


def test_a_port_that_nobody_listens_on_is_told(healthy: Callable[..., tuple[int, str]]) -> None:
    """At once."""
    port = str(free_port())
    assert healthy("http", port, "/", "200") == (1, f"nothing takes connections on port {port}.\n")


def test_a_server_that_never_answers_is_not_waited_for(
    healthy: Callable[..., tuple[int, str]], raw: Callable[[bytes | None], str]
) -> None:
    """Within the probe's own limit, which is below Compose's, so that there is a sentence."""
    port, began = raw(None), time.monotonic()
    assert healthy("http", port, "/", "200") == (1, f"/ on port {port} was not answered within 3 s.\n")
    assert 3 <= time.monotonic() - began < 30
