"""Starts the supplier: settings come in, a server on SUPPLIER_PORT comes up."""

import socket
import sys

import uvicorn

from demo.settings import demo_settings
from demo.store import store
from demo.supplier.app import Supplier
from demo.supplier.catalogue import Catalogue
from demo.supplier.knobs import Knobs
from demo.supplier.ledger import Ledger
from switchyard.errors import SwitchyardError
from switchyard.health import note_ready
from switchyard.listener import listen
from switchyard.settings import settings as core_settings
from switchyard.worker.orphans import end_with_parent

#: Seconds that open requests get to end when the supplier is stopped.
STOP_TIMEOUT_S = 5


def main() -> int:
    """Serve until stopped; returns the exit code, 1 with a sentence on stderr when the supplier cannot start."""
    try:
        serve()
    except (SwitchyardError, OSError) as exc:
        print(f"The supplier did not start. {exc}", file=sys.stderr)
        return 1
    return 0


def serve() -> None:
    """Serve until SIGTERM or SIGINT. Raises RuntimeRefusal when the port is taken, StoreError without a store."""
    end_with_parent()
    chosen = demo_settings()
    knobs = Knobs(latency_ms=chosen.supplier_latency_ms, failure_rate=chosen.supplier_failure_rate)
    with (
        listen(chosen.supplier_port, "SUPPLIER_PORT") as listener,
        Ledger(core_settings().state_dir / "supplier" / "keys") as ledger,
    ):
        app = Supplier(Catalogue(store()), ledger, knobs)
        config = uvicorn.Config(
            app,
            interface="asgi3",
            lifespan="off",
            ws="none",
            access_log=False,  # a line per request would cost more than the request
            server_header=False,
            date_header=False,
            proxy_headers=False,
            log_config=None,
            backlog=2048,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
        _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn, which also tells `make up` when it serves."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        note_ready(core_settings().state_dir, "supplier")


if __name__ == "__main__":
    sys.exit(main())
