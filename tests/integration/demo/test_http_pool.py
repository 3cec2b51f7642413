"""The pool of connections to the supplier, with a server that misbehaves on request."""

import http.client
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.integration.demo.processes import SERVICES

from demo.errors import SupplierError
from demo.http_pool import FAILURES, HttpPool, NotConnected
from demo.supplier_client import SupplierClient

#: Seconds that nothing here ever takes.
LONG = 30.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections.append(self.connection)

    def do_GET(self):
        self.server.asked.append((self.command, self.path))
        match self.path.rsplit("/", 1)[1]:
            case "redirect":
                self.answer(302, b"", location="/elsewhere")
            case "last":  # the server closes afterwards, having said so
                self.answer(200, b"last", connection="close")
                self.close_connection = True
            case "endless":  # no length: the end of the connection is the end of the answer
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nto the end")
                self.close_connection = True
            case "chunked":
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nin \r\n5\r\nparts\r\n0\r\n\r\n"
                )
            case "silent":
                self.server.told.wait(LONG)
                self.close_connection = True
            case "half":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                self.close_connection = True
            case "together":
                self.server.together.wait(LONG)
                self.answer(200, b"together")
            case _:
                self.answer(200, b"here")

    def do_POST(self):
        self.do_GET()

    def answer(self, status, body, **headers):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing is printed."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.connections, self.asked = [], []
        self.told, self.together = threading.Event(), threading.Barrier(3)
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *_):
        """Clients go in the middle here."""


@pytest.fixture
def server():
    made = Server()
    yield made
    made.told.set()
    made.shutdown()
    made.server_close()


def pool_of(server, size=4, read_s=LONG):
    return HttpPool(f"{server.url}/api/", size=size, connect_s=3.0, read_s=read_s)


def test_one_connection_serves_one_caller_after_the_other(server):
    """The path of the address comes first."""
    pool = pool_of(server)
    assert [pool.get("/a"), pool.get("/b")] == [(200, b"here")] * 2
    assert [path for _, path in server.asked] == ["/api/a", "/api/b"]
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        # a redirect is an answer, and nobody goes there
        ("/redirect", (302, b"")),
        # whichever way the body's end is told
        ("/last", (200, b"last")),
        ("/endless", (200, b"to the end")),
        ("/chunked", (200, b"in parts")),
    ],
)
def test_an_answer_is_whole_and_the_next_one_its_own(server, path, answer):
    """Nothing of it is left over for the next caller."""
    pool = pool_of(server)
    assert [pool.get(path), pool.get("/a")] == [answer, (200, b"here")]


def test_a_connection_that_the_server_has_closed_costs_nothing(server):
    """It has not seen the request, which goes out once more over a new one; others that were open are tried no further."""
    pool = pool_of(server)
    with ThreadPoolExecutor(3) as callers:
        assert {found.result() for found in [callers.submit(pool.get, "/together") for _ in range(3)]} == {
            (200, b"together")
        }
    for connection in server.connections:
        connection.shutdown(2)
    assert pool.get("/a") == (200, b"here")
    assert len(server.connections) == 4


def test_callers_beyond_the_bound_wait(server):
    """Ten callers, two connections."""
    pool = pool_of(server, size=2)
    with ThreadPoolExecutor(10) as callers:
        assert set(callers.map(pool.get, ["/a"] * 50)) == {(200, b"here")}
    assert len(server.connections) <= 2


@pytest.mark.parametrize("path", ["/silent", "/half"])
def test_an_answer_that_does_not_come_gives_its_place_back(server, path):
    """Its connection is closed, for the rest of the answer may come yet; the next caller has another one."""
    pool = pool_of(server, size=1, read_s=2.0)
    with pytest.raises(FAILURES):
        pool.get(path)
    assert pool.get("/a") == (200, b"here")
    assert len(server.connections) == 2


def test_what_is_posted_goes_over_a_connection_of_its_own(server):
    """And once: nobody knows whether the first one was taken."""
    pool = pool_of(server)
    pool.get("/a")
    assert pool.post("/b", "{}", {"Content-Type": "application/json"}) == (200, b"here")
    assert len(server.connections) == 2
    with pytest.raises(http.client.IncompleteRead):
        pool.post("/half", "{}", {})
    assert [method for method, _ in server.asked].count("POST") == 2


def test_a_server_that_is_not_there_is_told_from_one_that_does_not_answer(server):
    """Only then nothing was asked."""
    server.shutdown()
    server.server_close()
    with pytest.raises(NotConnected):
        pool_of(server).get("/a")


def test_an_answer_that_breaks_off_is_asked_for_three_times_and_then_told_in_a_sentence(server, monkeypatch):
    """By the supplier's client, which pauses before each further time."""
    pauses = []
    monkeypatch.setattr("demo.supplier_client.time.sleep", pauses.append)
    client = SupplierClient(f"{server.url}/half")
    monkeypatch.setattr(client._pool, "_path", "/half")
    monkeypatch.setattr(Handler, "do_GET", lambda self: (server.asked.append(self.path), self.connection.shutdown(2)))
    with pytest.raises(SupplierError, match=r"The supplier at http\S+ did not answer GET /products/7: .+\."):
        client.product(7)
    assert (len(server.asked), pauses) == (3, [0.0, 1.0])


GREEN = """
from gevent import monkey
monkey.patch_all()
import gevent, sys
from demo.http_pool import HttpPool
pool = HttpPool(sys.argv[1], size=3, connect_s=3.0, read_s=30.0)
with gevent.Timeout(30):
    found = gevent.joinall([gevent.spawn(pool.get, "/together") for _ in range(3)], raise_error=True)
with gevent.Timeout(0.2, False):
    pool.get("/silent")
print([greenlet.value for greenlet in found], pool.get("/a"))
"""


def test_greenlets_ask_at_the_same_time(server):
    """Three that each wait for the other two; one that is interrupted leaves nothing behind for the next."""
    done = subprocess.run(
        [sys.executable, "-c", GREEN, server.url], env={"PYTHONPATH": str(SERVICES)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (f"{[(200, b'together')] * 3} (200, b'here')\n", 0), done.stderr
