"""A supplier that costs next to nothing: answers every GET /products/<id> with that product, LATENCY_S after it was asked.

Its processor time is what the benches' other processes do not get, so it is lean, and said: GET /cpu answers with its seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import uvloop

LATENCY_S = 0.05
_BODY = {
    "manufacturer_id": 2, "department": "GROCERY", "brand": "National", "product_category": "FRZN ICE",
    "product_type": "ICE - CRUSHED/CUBED", "package_size": "22 LB",
}  # fmt: skip
_TAIL = json.dumps(_BODY)[1:].encode()


class Supplier(asyncio.Protocol):
    """One connection; requests on it come one after another, as all clients here send them."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        path = data.split(b" ", 2)[1]
        if path == b"/cpu":
            self._answer(b"%.6f" % time.process_time())
        else:
            body = b'{"product_id": %s, %s' % (path.rsplit(b"/", 1)[1], _TAIL)
            asyncio.get_running_loop().call_later(LATENCY_S, self._answer, body)

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Supplier, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
