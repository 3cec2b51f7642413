"""The process `producer`: settings come in, the HTTP door on API_PORT comes up."""

from __future__ import annotations

import asyncio
import gc
import socket

import uvicorn

from switchyard import logs
from switchyard.health import note_ready
from switchyard.listener import listen
from switchyard.producer.http.app import create_app
from switchyard.producer.http.protocol import Protocol
from switchyard.settings import settings

#: Seconds that open requests get to end when the door is stopped.
STOP_TIMEOUT_S = 5


def main() -> None:
    """Serve until SIGTERM or SIGINT. Raises RuntimeRefusal when the port is taken, ConfigError for a refused configuration."""
    config = settings()
    with listen(config.api_port, "API_PORT") as listener:
        logs.configure(config.log_format, config.log_level)
        stopping = asyncio.Event()
        gc.freeze()  # what is loaded now stays: the collector need not look at it again
        _Server(
            stopping,
            uvicorn.Config(
                create_app(stopping),
                interface="asgi3",
                loop="uvloop",
                http=Protocol,
                ws="none",
                lifespan="on",
                access_log=False,  # each event has a line of its own
                server_header=False,
                date_header=False,
                proxy_headers=False,
                log_config=None,
                backlog=2048,
                timeout_graceful_shutdown=STOP_TIMEOUT_S,
            ),
        ).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn, which also says that it serves, and ends streams when it is to stop."""

    def __init__(self, stopping: asyncio.Event, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            note_ready(settings().state_dir, "producer")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)
