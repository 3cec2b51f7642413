"""What the HTTP door is compared with: a FastAPI route that pushes the body into a list of Redis, and does nothing else."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import redis.asyncio
import uvicorn
from fastapi import FastAPI, Request, Response

from switchyard.health import note_ready

app = FastAPI()
client = redis.asyncio.Redis.from_url(os.environ["CELERY_RESULT_BACKEND"])


@app.post("/v1/events")
async def push(request: Request) -> Response:
    await client.lpush("bare", await request.body())
    return Response(b'{"status": "accepted"}', 202, media_type="application/json")


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        note_ready(Path(os.environ["STATE_DIR"]), "bare")


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", int(os.environ["API_PORT"])))
    config = uvicorn.Config(
        app, access_log=False, log_config=None, server_header=False, date_header=False, lifespan="off"
    )
    _Server(config).run(sockets=[listener])
