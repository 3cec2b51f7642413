"""Remote control of a gevent worker, which has a connection and a greenlet of its own: Celery lets both end with the first error, such
as that this connection was cut, and the worker hears no `revoke` any more.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker import pidbox

from switchyard.logs import get_logger

#: Seconds until it listens again.
PAUSE_S = 1.0

log = get_logger(__name__)


class _Pidbox(pidbox.gPidbox):
    _node_shutdown: Any

    def loop(self, c: Any) -> None:
        """Listen until the worker stops, or loses its own connection; then Celery starts another."""
        while True:
            try:
                super().loop(c)
                return
            except Exception as exc:  # noqa: BLE001  whatever it is, the worker is to hear of the next command
                shutdown = self._node_shutdown  # `on_stop` may have removed it meanwhile: then it is over, too
                log.warning("remote_control_awaited", reason=str(exc) or type(exc).__name__, wait_s=PAUSE_S)
            time.sleep(PAUSE_S)
            if shutdown is None or shutdown.is_set() or not c.connection:
                return


def install() -> None:
    """Have every consumer of this process use it."""
    pidbox.gPidbox = _Pidbox  # type: ignore[misc]  # where Celery looks for it
