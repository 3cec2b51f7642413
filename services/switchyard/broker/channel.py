"""A channel of the leased transport: fetches in batches what there is room for, and settles what has ended on the way."""

from __future__ import annotations

import os
from collections import deque
from functools import cached_property
from time import monotonic
from typing import Any

from kombu.transport import redis
from redis import exceptions as errors

from switchyard.broker import credit, delays, reading, scripts, stock
from switchyard.broker.bell import Bell
from switchyard.broker.credit import FETCH_MOST
from switchyard.broker.keeper import Keeper, keeper_at
from switchyard.broker.leases import Leases
from switchyard.broker.lists import Lists
from switchyard.broker.qos import QoS
from switchyard.broker.server import check_server
from switchyard.broker.wire import ask, calls, is_lost, refusal
from switchyard.logs import get_logger
from switchyard.worker import stopping

#: Seconds a settlement, or a little room, waits for company: with nothing else to do, and with messages to hand on.
LINGER_S, LINGER_BUSY_S = 0.003, 0.02
#: Seconds the consumer may hand messages on before it lets the loop have its turn.
SLICE_S = 0.005
#: Seconds after which it fetches although nothing has rung, which also finds a connection that is dead.
RECHECK_S = 5.0
#: Seconds after which it tries again what Redis has refused.
REFUSED_S = 1.0
#: Seconds in which Redis must answer: the consumer waits for it, and the worker's loop with it.
ANSWER_S = 10.0

log = get_logger(__name__)


class Channel(stock.Channel):
    """A connection's publishing and consuming."""

    QoS, Message = QoS, reading.Message
    lease = 30.0
    max_deliveries = 5
    from_transport_options = (*redis.Channel.from_transport_options, "lease", "max_deliveries")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: Fetched and not handed on yet: queue and message.
        self._arrived: deque[tuple[str, dict[str, Any]]] = deque()
        #: Queues whose messages nobody acknowledges, such as the answers to remote control.
        self._no_ack: set[str] = set()
        #: There may be messages to fetch; when they were last.
        self._hungry, self._fetched = True, 0.0
        self._socket: Any = None
        self._lists = Lists(self)
        self._has_consumed = self._suspected = False
        self._refused_until = 0.0
        self.bell = Bell()
        super().__init__(*args, **kwargs)

    @cached_property
    def keeper(self) -> Keeper:
        """This process' at this broker."""
        return keeper_at(self)

    @cached_property
    def leases(self) -> Leases:
        """What it keeps."""
        return self.keeper.leases

    def key(self, name: str) -> str:
        """A key with the prefix that kombu adds to keys outside of scripts."""
        return f"{self.global_keyprefix}{name}"

    # --- Consuming

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002  kombu's
        """Begin to consume a queue."""
        if no_ack:
            self._no_ack.add(queue)
        self._hungry = True
        result = super().basic_consume(queue, no_ack, *args, **kwargs)
        self._note_consumed()
        return result

    def _basic_cancel(self, consumer_tag: str) -> Any:
        self._give_back({self._tag_to_queue.get(consumer_tag)})
        result = super()._basic_cancel(consumer_tag)
        self._note_consumed()
        return result

    def _give_back(self, queues: set[Any]) -> None:
        """What has arrived of these and was not handed on goes back; the oldest last, which is the next to be fetched."""
        arrived, self._arrived = self._arrived, deque()
        for name, message in reversed(arrived):
            if name in queues:
                self.leases.settle("head", message["properties"]["delivery_tag"])
            else:
                self._arrived.appendleft((name, message))

    def _note_consumed(self) -> None:
        if queues := self.active_queues:
            self._has_consumed = True
            if self.bell not in self.leases.consuming:
                self.leases.adopt(self)
                self.keeper.start(self._get_pool())
            self.leases.consuming[self.bell] = tuple(queues)
        else:
            self.leases.consuming.pop(self.bell, None)

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002  kombu's
        parameters: dict[str, Any] = super()._connparams(asynchronous)
        if asynchronous:
            parameters["protocol"] = 3  # pushes are of RESP3
            parameters["socket_timeout"] = min(ANSWER_S, parameters["socket_timeout"] or ANSWER_S)
        return parameters

    def _connected(self) -> Any:
        """The connection that fetches: with a doorbell, its scripts loaded, known to the poller."""
        cycle, client = self.connection.cycle, self.client
        if not cycle._client_registered(self, client, "BRPOP"):  # noqa: SLF001  the poller's word for a fetch
            cycle._register(self, client, "BRPOP")  # noqa: SLF001
        connection = client.connection
        if connection._sock is not self._socket:  # noqa: SLF001
            check_server(connection.handshake_metadata)
            connection._parser.set_invalidation_push_handler(self._on_push)  # noqa: SLF001
            loads_scripts = [("SCRIPT", "LOAD", script) for script in (scripts.SETTLE, scripts.FETCH)]
            self._digests = calls(connection, [("CLIENT", "TRACKING", "ON", "NOLOOP"), *loads_scripts])[1:]
            self._socket, self._hungry = connection._sock, True  # noqa: SLF001
        return connection

    def _on_push(self, push: Any) -> Any:
        if self._lists.among(push[1]):
            self._hungry = True
        return push

    def on_readable(self) -> None:
        """The connection is readable between two exchanges: somebody has touched a list, or it has ended."""
        connection = self.client.connection
        try:
            while True:  # also what came along with an answer, which no poll sees any more
                connection.read_response(push_request=True, timeout=0, disconnect_on_error=False)
        except errors.TimeoutError:
            pass
        except self.connection_errors:
            connection.disconnect()
            raise

    def _room(self) -> int:
        return credit.room(self.qos, self.leases, self.active_queues, len(self._arrived))

    def turn(self) -> tuple[int, float]:
        """What there is to do before the loop waits: how many messages were handed on, and how long it may wait, in seconds."""
        now = monotonic()
        self.leases.collect(now)
        room, waiting, busy = self._room(), self.leases.settlements, bool(self._arrived)
        # A suspect that is gone may have been what kept the next one waiting.
        suspected, self._suspected = self._suspected, bool(self.leases.suspects)
        if now - self._fetched > RECHECK_S or (suspected and not self._suspected):
            self._hungry = True
        # In batches: as long as there is something to hand on, what there is room for can wait until it is worth a round trip.
        enough = room >= max(1, min(FETCH_MOST, self.qos.prefetch_count or FETCH_MOST) // 2)
        fetch = self._hungry and room > 0 and (enough or (not busy and now - self._fetched >= LINGER_S))
        refused = now < self._refused_until
        if not refused and (fetch or self._must_settle(now, LINGER_BUSY_S if busy else LINGER_S)):
            self._exchange(room if fetch else 0)
            # Nobody settles an answer: whoever has it may be gone the next moment, and would leave it behind.
            if self._no_ack and any(queue in self._no_ack for queue, _ in self._arrived):
                self._exchange(0)
        handed = self._hand_on() if self._arrived else 0
        if handed or (self._arrived and not stopping.is_set()):
            self.bell.ring()  # prefork's pool writes to its children on its own turn, which may have been before this one
        self._log_notes()
        soon = waiting or (self._hungry and self._room())
        return handed, REFUSED_S if refused else LINGER_S if soon else RECHECK_S

    def _must_settle(self, now: float, linger_s: float) -> bool:
        waiting = self.leases.settlements
        try:
            return len(waiting) >= FETCH_MOST or now - waiting[0].when >= linger_s
        except IndexError:
            return False

    def _exchange(self, room: int) -> None:
        """One round trip: settle what there is, fetch what there is room for, and listen for the rest. Raises connection errors."""
        leases, lists = self.leases, self._lists
        batch, first, answers = leases.settled(), -1, [None]
        try:
            connection = self._connected()
            commands = leases.settling(batch, self._digests[0])
            if room:
                lists.ask(tuple(self._queue_cycle.consume(len(self.active_queues))))
                keys = (leases.unacked, leases.index, *lists.keys)
                first = leases.expect(room)
                arguments = (leases.shift, f"{leases.worker}:", first, room, int(not leases.suspects))
                commands.append(("EVALSHA", self._digests[1], len(keys), *keys, *arguments, *lists.quoted))
                self._hungry = False  # a push that arrives from now on sets it again
            answers = ask(connection, commands)
            refused = refusal(answers)
        except errors.ResponseError as exc:  # while connecting
            refused = exc
        except BaseException:
            leases.again(batch)
            for number in reversed(range(first, first + room) if room and first >= 0 else ()):
                leases.settle("head", f"{leases.worker}:{number}")  # if it has fetched them, nobody knows
            leases.forget(first)
            self._hungry = True
            raise
        if room and isinstance(answers[-1], list):
            self._fetched = monotonic()
            self.connection.note_answer()
            self._hungry = self._hungry or bool(answers[-1][0])
            now, found = float(answers[-1][1] or 0), answers[-1][2:]
            for number, (position, raw) in enumerate(zip(found[::2], found[1::2], strict=True), first):
                self._arrive(number, lists.names[position], raw, now)
        leases.forget(first)
        if refused:
            self._note_refusal(refused)
            leases.again(batch)
        else:
            leases.sent(batch)
        if any(s.what != "ack" for s in batch):
            self._hungry = True  # what we put back ourselves does not ring here
        if not self._hungry:
            self.on_readable()

    def _note_refusal(self, refused: errors.ResponseError) -> None:
        self._hungry = True
        if isinstance(refused, errors.NoScriptError):  # somebody has flushed them: load them again
            self._socket = None
        else:  # its disk is full, it is a replica now, its user may not: tried again in a while
            self._refused_until = monotonic() + REFUSED_S
            log.warning("redis_refuses", reason=str(refused))

    def _arrive(self, number: int, queue: str, raw: bytes, now: float) -> None:
        leases = self.leases
        tag = leases.take(number, queue, suspect=reading.deliveries(raw) >= reading.SUSPECT)
        try:
            message = reading.read(raw, tag)
        except Exception as exc:  # noqa: BLE001  anybody may publish anything
            return leases.settle("aside", tag, reading.why_not(exc))
        if tag in leases.suspects:
            self._suspected = True
        if queue in self._no_ack:
            leases.settle("ack", tag)
        elif due := delays.due(message, now):
            return leases.settle("delay", tag, f"{due:.3f}")
        return self._arrived.append((queue, message))

    def _hand_on(self) -> int:
        """Hand messages on for a slice of time; on the solo pool this runs their tasks."""
        until, handed, cycle = monotonic() + SLICE_S, 0, self.connection.cycle
        while self._arrived and not (stopping.is_set() or cycle.interrupted):
            queue, message = self._arrived.popleft()
            self._queue_cycle.rotate(queue)
            try:
                self.connection._deliver(message, queue)  # noqa: SLF001  as kombu's own
            except Exception as exc:
                if is_lost(exc, self.connection_errors):
                    raise
                # Celery looks into a message before it can tell what it is, and stumbles over some. No message may end a worker.
                log.exception("message_not_taken")
                if (tag := message["properties"]["delivery_tag"]) in self.leases.held:
                    self.qos.set_aside(tag, reading.why_not(exc))
            handed += 1
            # Whoever waits for so many answers, as remote control does, counts one for each time that it waits.
            if monotonic() >= until or queue in self._no_ack:
                break
            if cycle.loop is not None and cycle.loop._ready:  # noqa: SLF001  acknowledgements of tasks that ran in there
                for item in cycle.loop._pop_ready():  # noqa: SLF001
                    item()
        return handed

    def _log_notes(self) -> None:
        notes = self.keeper.notes
        while notes:
            event, fields = notes.popleft()
            log.warning(event, **fields)

    def close(self) -> None:
        """Give back what was not handed on, and send what is not settled."""
        if not self.closed and "keeper" in self.__dict__ and self.leases.pid == os.getpid():
            self._give_back({queue for queue, _ in self._arrived})
        try:
            super().close()
        finally:
            self._end()

    def _end(self) -> None:
        if "keeper" not in self.__dict__ or self.leases.pid != os.getpid():
            return
        self.leases.consuming.pop(self.bell, None)
        self.bell.close()
        if self._has_consumed or self.leases.settlements:
            try:
                self.keeper.flush()
            except errors.RedisError as exc:
                log.warning("settlements_wait_for_the_next_connection", reason=str(exc))
