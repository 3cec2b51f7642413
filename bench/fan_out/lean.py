"""`common.update` for asyncio: a protocol over kept connections, and nothing else."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from bench.fan_out import common

_idle: list[Connection] = []


class Connection(asyncio.Protocol):
    """One connection; asks one question at a time."""

    answer: asyncio.Future[bytes]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)


async def update(product_id: int) -> dict[str, Any]:
    """Ask and store."""
    loop = asyncio.get_running_loop()
    if _idle:
        connection = _idle.pop()
    else:
        _, connection = await loop.create_connection(Connection, "127.0.0.1", int(os.environ[common.SUPPLIER]))
    connection.answer = loop.create_future()
    connection.transport.write(common.request(product_id))
    common.save(common.product_in(await connection.answer))
    _idle.append(connection)
    return common.UPDATED
