"""What a broker does between clients of one process, without a socket: for workers that are served without a broker.

It speaks STOMP as ActiveMQ Classic does, as far as bridge and workers make use of it: queues with a prefetch and by
priority, topics, temporary reply queues, receipts, and the word of who listens. Nothing is kept beyond the process,
nobody outside can reach it, and there are no transactions.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from activemq.client import Client
from activemq.errors import ConnectionLostError, NotConnectedError
from activemq.frames import CLIENT_COMMANDS, Frame, Limits
from activemq.parser import Parser
from activemq.servers import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

SERVER: Final = "ActiveMQ/in-process"  # so that clients take the profile of Classic
_ADVISORIES: Final = "/topic/ActiveMQ.Advisory.Consumer."
_TEMPORARY: Final = "/temp-queue/"
_FOREIGN: Final = "/remote-temp-queue/"  # what others call a temporary queue
_WHATEVER: Final = Limits(max_body=1 << 30)  # who gets a message says what is too large
# Of the sender's frame alone, or put anew: not part of what is delivered.
_NOT_DELIVERED: Final = ("receipt:", "destination:", "reply-to:", "transaction:")


class LocalBroker:
    """Messages go from one of its clients to another. One loop, no locks."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._topics: dict[str, list[_Consumer]] = {}
        self._temporary: dict[str, _Consumer] = {}
        self._numbers = count(1)

    def client(self, limits: Limits | None = None) -> Client:
        """Return a client that is connected, once started, to nothing but this."""
        return _LocalClient(self, limits or Limits())

    # -- what connections ask; each raises _Refused with the reason

    def subscribe(self, consumer: _Consumer) -> None:
        """Begin to deliver."""
        destination = consumer.destination
        if destination.startswith("/queue/"):
            queue = self._queues.setdefault(destination, _Queue())
            queue.consumers.append(consumer)
            self._tell_of(destination, len(queue.consumers))
            queue.dispatch()
        elif destination.startswith("/topic/"):
            self._topics.setdefault(destination, []).append(consumer)
            if destination == f"{_ADVISORIES}>":
                self._tell_all_to(consumer)
        elif destination.startswith(_FOREIGN):
            self._temporary[destination] = consumer
        else:
            raise _Refused(f"{destination}: is no destination here")

    def unsubscribe(self, consumer: _Consumer) -> None:
        """Deliver no more; what was not acknowledged goes to others."""
        destination = consumer.destination
        if destination in self._queues:
            queue = self._queues[destination]
            queue.consumers.remove(consumer)
            self._tell_of(destination, len(queue.consumers))
            for message in consumer.unacked.values():
                message.redelivered = True
                queue.put(message)
            queue.dispatch()
            if not queue.consumers and not queue.waiting:
                del self._queues[destination]
        elif destination in self._topics:
            self._topics[destination].remove(consumer)
        else:
            self._temporary.pop(destination, None)

    def send(self, frame: Frame, destination: str, reply_to: str | None) -> None:
        """Deliver a message, or keep it for who will come."""
        head = "".join([f"\n{line}" for line in frame.head.split("\n")[1:] if not line.startswith(_NOT_DELIVERED)])
        if reply_to is not None:
            head += f"\nreply-to:{reply_to}"
        head += f"\ndestination:{destination}\ntimestamp:{_now_ms()}"
        priority, expires = _number(frame, "priority", 4), _number(frame, "expires")
        message = _Message(next(self._numbers), head, frame.body, priority, expires)
        if destination.startswith("/queue/"):
            queue = self._queues.setdefault(destination, _Queue())
            queue.put(message)
            queue.dispatch()
        elif destination.startswith("/topic/"):
            for consumer in self._topics.get(destination, ()):
                consumer.take(message)
        elif destination in self._temporary:
            self._temporary[destination].take(message)
        else:
            raise _Refused(f"{destination}: is not there any more")

    def acknowledge(self, consumer: _Consumer, number: int) -> None:
        """Forget a message, and deliver the next."""
        if consumer.unacked.pop(number, None) is not None and consumer.destination in self._queues:
            self._queues[consumer.destination].dispatch()

    # -- who listens

    def _tell_of(self, destination: str, consumers: int) -> None:
        for watcher in self._topics.get(f"{_ADVISORIES}>", ()):
            watcher.take(self._advisory(f"Queue.{destination.removeprefix('/queue/')}", consumers))

    def _tell_all_to(self, watcher: _Consumer) -> None:
        found = {f"Queue.{name.removeprefix('/queue/')}": len(queue.consumers) for name, queue in self._queues.items()}
        found |= {f"Topic.{name.removeprefix('/topic/')}": len(those) for name, those in self._topics.items()}
        for name, consumers in found.items():
            for _ in range(consumers):
                watcher.take(self._advisory(name, consumers))

    def _advisory(self, name: str, consumers: int) -> _Message:
        head = f"\ndestination:{_ADVISORIES}{name}\nconsumerCount:{consumers}"
        return _Message(next(self._numbers), head, b"", 4, 0)


class _Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """The answer is an ERROR frame, and the connection stays."""


@dataclass(eq=False, slots=True)
class _Message:
    """``head``: its header lines as on the wire; ``expires``: epoch ms, 0 for never."""

    number: int
    head: str
    body: bytes
    priority: int
    expires: int
    redelivered: bool = False


@dataclass(eq=False, slots=True)
class _Consumer:
    """A subscription; ``prefetch``: how many may be unacknowledged, 0 for one that acknowledges nothing.

    ``max_body``: bytes; a larger body is left out.
    """

    id: str
    destination: str
    prefetch: int
    max_body: int
    deliver: Callable[[Frame], None] = field(repr=False)
    unacked: dict[int, _Message] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return not self.prefetch or len(self.unacked) < self.prefetch

    def take(self, message: _Message) -> None:
        head = f"\nsubscription:{self.id}\nmessage-id:{message.number}"
        if self.prefetch:
            self.unacked[message.number] = message
            head += f"\nack:{self.id}/{message.number}"
        if message.redelivered:
            head += "\nredelivered:true"
        frame = Frame("MESSAGE", head + message.head, message.body)
        if len(message.body) > self.max_body:
            frame.body, frame.oversize = b"", len(message.body)
        self.deliver(frame)


class _Queue:
    def __init__(self) -> None:
        self.waiting: list[tuple[int, int, _Message]] = []  # a heap: by priority, then in the order of arrival
        self.consumers: deque[_Consumer] = deque()

    def put(self, message: _Message) -> None:
        heapq.heappush(self.waiting, (-message.priority, message.number, message))

    def dispatch(self) -> None:
        """Hand out what somebody is ready for, in turns; what is past its expiry is forgotten."""
        while self.waiting:
            if 0 < self.waiting[0][2].expires <= _now_ms():
                heapq.heappop(self.waiting)
                continue
            consumer = next((one for one in self.consumers if one.ready), None)
            if consumer is None:
                return
            self.consumers.remove(consumer)
            self.consumers.append(consumer)
            consumer.take(heapq.heappop(self.waiting)[2])


class _LocalClient(Client):
    def __init__(self, broker: LocalBroker, limits: Limits) -> None:
        super().__init__([Server("this process")], limits=limits)
        self._broker = broker

    async def _dial(self, server: Server, versions: str) -> _LocalConnection:  # noqa: ARG002 - there is one
        return _LocalConnection(self._broker, self._limits, self._on_frame, self._on_lost)


class _LocalConnection:
    """See :class:`activemq.connection.Channel`. What it brings comes in the loop's next turn, as from a socket."""

    server = SERVER
    version = "1.2"

    def __init__(
        self,
        broker: LocalBroker,
        limits: Limits,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._broker = broker
        self._parser = Parser(_WHATEVER, CLIENT_COMMANDS)
        self._max_body = limits.max_body
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._consumers: dict[str, _Consumer] = {}
        self._coming: deque[Frame] = deque()
        self._delivered = asyncio.Event()
        self._delivered.set()
        self._name = f"{id(self):x}"
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def write(self, data: bytes) -> None:
        if self.closed.done():
            raise NotConnectedError("closed by us")
        for frame in self._parser.feed(data):
            receipt = frame.raw("receipt")
            try:
                self._do(frame)
            except _Refused as refused:
                self._answer("ERROR", {"message": str(refused), **({"receipt-id": receipt} if receipt else {})})
            else:
                if receipt:
                    self._answer("RECEIPT", {"receipt-id": receipt})

    async def drain(self) -> None:
        """Wait until whoever reads has had its turn: it runs on this loop, too."""
        await self._delivered.wait()
        await asyncio.sleep(0)

    async def close(self, timeout: float = 2.0) -> None:  # noqa: ARG002 - as a socket's
        self.abort(ConnectionLostError("closed by us"))

    def abort(self, error: Exception) -> None:
        if self.closed.done():
            return
        self.closed.set_result(None)
        for consumer in tuple(self._consumers.values()):
            self._broker.unsubscribe(consumer)
        self._consumers.clear()
        self._coming.clear()
        self._delivered.set()
        self._on_lost(error)

    def give_up(self, error: Exception) -> None:
        self._on_lost = lambda _: None
        self.abort(error)

    def _do(self, frame: Frame) -> None:
        if frame.raw("transaction") is not None:
            raise _Refused(f"{frame.command}: there are no transactions here")
        if frame.command == "SEND":
            reply_to = frame.raw("reply-to")
            destination = self._global(frame.raw("destination") or "")
            self._broker.send(frame, destination, reply_to and self._global(reply_to))
        elif frame.command == "SUBSCRIBE":
            self._subscribe(frame)
        elif frame.command == "UNSUBSCRIBE":
            consumer = self._consumers.pop(frame.raw("id") or "", None)
            if consumer is not None:
                self._broker.unsubscribe(consumer)
        elif frame.command == "ACK":
            name, _, number = (frame.raw("id") or "").rpartition("/")
            if name in self._consumers and number.isdigit():
                self._broker.acknowledge(self._consumers[name], int(number))
        else:
            raise _Refused(f"{frame.command}: is not done here")

    def _subscribe(self, frame: Frame) -> None:
        prefetch = 0 if frame.raw("ack") == "auto" else _number(frame, "activemq.prefetchSize", 1)
        destination = self._global(frame.raw("destination") or "")
        consumer = _Consumer(frame.raw("id") or "", destination, prefetch, self._max_body, self._deliver)
        self._broker.subscribe(consumer)
        self._consumers[consumer.id] = consumer

    def _global(self, destination: str) -> str:
        """Return a destination as all know it; a temporary queue belongs to its connection."""
        if destination.startswith(_TEMPORARY):
            return f"{_FOREIGN}{self._name}/{destination.removeprefix(_TEMPORARY)}"
        return destination

    def _answer(self, command: str, headers: Mapping[str, str]) -> None:
        self._deliver(Frame(command, "".join(f"\n{name}:{value}" for name, value in headers.items())))

    def _deliver(self, frame: Frame) -> None:
        if not self._coming:
            self._delivered.clear()
            self._loop.call_soon(self._hand_over)
        self._coming.append(frame)

    def _hand_over(self) -> None:
        coming, self._coming = self._coming, deque()
        for frame in coming:
            if self.closed.done():
                return
            try:
                self._on_frame(frame)
            except Exception as error:  # nobody can know what else is wrong then
                log.exception("the handler of a frame failed; closing the connection")
                self.abort(error)
        if not self._coming:
            self._delivered.set()


def _number(frame: Frame, name: str, default: int = 0) -> int:
    value = frame.raw(name) or ""
    return int(value) if value.isascii() and value.isdigit() else default


def _now_ms() -> int:
    return round(time.time() * 1_000)
