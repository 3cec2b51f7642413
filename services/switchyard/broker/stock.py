"""kombu's Redis transport, where nothing vanishes: messages in; each in a queue, or an error at its publisher, out.

Redis has no exchanges. kombu keeps their bindings in a set, which a FLUSHALL or a wrong DEL removes, and the stock transport drops
what then matches nothing: a message that is published as well as one that is to go back to its queue.

Keys and formats stay kombu's own, so that stock publishers and workers share a broker with these.
"""

from __future__ import annotations

import re
from math import inf
from queue import Empty
from time import monotonic, time
from typing import Any

from kombu.transport import redis
from kombu.transport.virtual.base import QoS as VirtualQoS
from kombu.utils.json import dumps

from switchyard.errors import Unroutable
from switchyard.logs import get_logger

#: Where a worker answers `inspect` and `ping`. Who asked may be gone, which is no error of the worker's.
_REPLIES = re.compile(r"reply\..*\.pidbox")
#: Notes in a fetched message which queue it lay in.
QUEUE = "queue"

log = get_logger(__name__)


class QoS(redis.QoS):
    """What was fetched and is not acknowledged yet."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a fetched message, to go back to the queue it lay in, whatever its exchange is bound to by then."""
        raw = message._raw  # noqa: SLF001  as kombu's own
        message.lay_in = raw.pop(QUEUE)
        entry = dumps([raw, "", message.lay_in])
        with self.pipe_or_acquire() as pipe:
            pipe.zadd(self.unacked_index_key, {delivery_tag: time()})
            pipe.hset(self.unacked_key, delivery_tag, entry).execute()
        VirtualQoS.append(self, message, delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002  kombu's
        """Put a message back. What a stock worker has fetched goes by its exchange; if that matches nothing, it stays here."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except Unroutable as exc:
            log.error("message_not_put_back", tag=tag, reason=str(exc))  # noqa: TRY400  a sentence, no traceback


class Channel(redis.Channel):
    """A connection's publishing and consuming."""

    QoS = QoS

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Any:
        queues = super()._lookup(exchange, routing_key, default)
        if not queues and not _REPLIES.fullmatch(exchange):
            raise Unroutable(
                f"No queue is bound to the exchange {exchange!r} for the routing key {routing_key!r}; the message was not "
                'sent. Declare the queue that is to take it (declare=[queue]), or publish to the exchange "" with the '
                "queue's name as the routing key."
            )
        return queues

    def _do_restore_message(
        self,
        payload: Any,
        exchange: str,
        routing_key: str,
        pipe: Any,
        leftmost: bool = False,  # noqa: FBT001, FBT002  kombu's
    ) -> None:
        self._lookup(exchange, routing_key)  # raises here; below, kombu would log the error and delete the message
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", arguments: Any = None, **options: Any
    ) -> None:
        """Bind, also what this connection has bound before: kombu would skip that, and a FLUSHALL have removed it."""
        if exchange and self.state.has_binding(queue, exchange, routing_key):
            self._queue_bind(exchange, *self.typeof(exchange).prepare_bind(queue, exchange, routing_key, arguments))
        else:
            super().queue_bind(queue, exchange, routing_key, arguments, **options)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except Empty:
            self.connection.note_answer()
            raise

    def _get(self, queue: str) -> Any:
        return {**super()._get(queue), QUEUE: queue}


class Transport(redis.Transport):
    """The transport of redis:// and rediss:// URLs; celeryconfig plugs it in."""

    Channel = Channel
    #: When Redis last answered a fetch, by the monotonic clock.
    _answered = -inf

    def consuming(self, within_s: float) -> bool:
        """Whether Redis has answered a fetch in the last `within_s` seconds: with a message, or that there is none.

        Any thread may ask. A worker without a free slot does not fetch.
        """
        return monotonic() - self._answered < within_s

    def note_answer(self) -> None:
        """Redis has answered a fetch just now."""
        self._answered = monotonic()

    def _deliver(self, message: Any, queue: str) -> None:
        self.note_answer()  # before the task: the solo pool runs it in here
        message[QUEUE] = queue
        super()._deliver(message, queue)
