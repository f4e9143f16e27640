"""What the fake broker keeps: messages in queues, and who wants them. No I/O and no STOMP."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["queue", "topic", "temp-queue"]


class RefusedError(Exception):
    """The broker answers with an ERROR frame; the connection stays."""


class ForbiddenError(RefusedError):
    """The same, by the broker itself and not by its STOMP layer: it spoils the transaction."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where messages go; ``str()`` is how ActiveMQ names it in its errors, e.g. ``queue://orders``."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}://{self.name}"


DEAD_LETTERS: Final = Destination("queue", "ActiveMQ.DLQ")
_ADVISORIES: Final = "ActiveMQ.Advisory.Consumer."
ALL_ADVISORIES: Final = Destination("topic", f"{_ADVISORIES}>")


@dataclass(eq=False, slots=True)
class Message:
    """A message that the broker keeps.

    ``properties`` are the headers that are not the broker's, unescaped; ``reply_to`` a destination, or the text that
    was none. ``expires`` and ``timestamp`` are epoch ms in the broker's time, ``expires`` 0 for never.
    """

    id: str
    number: int
    destination: Destination
    properties: dict[str, str]
    body: bytes
    text: bool
    priority: int = 4
    expires: int = 0
    timestamp: int = 0
    persistent: bool = False
    redelivered: bool = False
    correlation_id: str | None = None
    type: str | None = None
    reply_to: Destination | str | None = None

    @property
    def place(self) -> tuple[int, int]:
        """Its place in a queue: by priority, then in the order of arrival, also when it comes back."""
        return -self.priority, self.number


@dataclass(eq=False, slots=True)
class Consumer:
    """A subscription. ``deliver`` sends a message to its client; what it must acknowledge waits in ``unacked``."""

    id: str
    destination: Destination
    ack: str
    prefetch: int
    deliver: Callable[[Consumer, Message], None] = field(repr=False)
    unacked: list[Message] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether it may get another message."""
        return len(self.unacked) < self.prefetch

    def take(self, message: Message) -> None:
        """Deliver a message."""
        if self.ack != "auto":
            self.unacked.append(message)
        self.deliver(self, message)


class Queue:
    """Waiting messages and those who consume them, in turn."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.consumers: list[Consumer] = []

    def put(self, message: Message) -> None:
        """Keep a message at its place."""
        insort(self.waiting, message, key=lambda kept: kept.place)

    def dispatch(self, now_ms: int) -> None:
        """Hand out what somebody is ready for; what is past its expiry is forgotten."""
        self.forget_expired(now_ms)
        while self.waiting:
            consumer = next((c for c in self.consumers if c.ready), None)
            if consumer is None:
                return
            self.consumers.remove(consumer)
            self.consumers.append(consumer)  # the next message is another's
            consumer.take(self.waiting.pop(0))

    def forget_expired(self, now_ms: int) -> None:
        """Drop what is past its expiry."""
        self.waiting = [m for m in self.waiting if not 0 < m.expires <= now_ms]


class Store:
    """All destinations. A temporary queue exists from :meth:`create` to :meth:`delete`, others as soon as named."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._queues: dict[Destination, Queue] = {}
        self._topics: dict[Destination, list[Consumer]] = {}

    def create(self, temporary: Destination) -> None:
        """Make a temporary queue."""
        self._queues[temporary] = Queue()

    def delete(self, temporary: Destination) -> None:
        """Forget a temporary queue with all that is in it."""
        self._queues.pop(temporary, None)

    def exists(self, destination: Destination) -> bool:
        """Whether one may send there."""
        return destination.kind != "temp-queue" or destination in self._queues

    def require(self, destination: Destination) -> None:
        """Raise :class:`ForbiddenError` for a temporary queue that is gone."""
        if not self.exists(destination):
            raise ForbiddenError(str(destination))

    def send(self, message: Message) -> None:
        """Keep a message for a queue, or hand it to a topic's subscribers of this moment."""
        if 0 < message.expires <= self._now_ms():
            return
        if message.destination.kind == "topic":
            for consumer in tuple(self._topics.get(message.destination, ())):
                consumer.take(message)
        elif self.exists(message.destination):
            self.queue(message.destination).put(message)

    def bury(self, message: Message) -> None:
        """Do what Classic does with a refused message: persistent ones go to the dead letters, others nowhere."""
        if message.persistent:
            message.properties["original-destination"] = f"/{message.destination.kind}/{message.destination.name}"
            message.destination = DEAD_LETTERS
            self.send(message)

    def subscribe(self, consumer: Consumer) -> None:
        """Add a consumer, and tell those who listen to the advisories; one of these is told of all that are there."""
        self._consumers(consumer.destination).append(consumer)
        if consumer.destination == ALL_ADVISORIES:
            for destination, consumers in self._all_consumers():
                for _ in consumers:
                    self._advise(destination, consumers, [consumer])
        else:
            self._advise_all(consumer.destination)

    def unsubscribe(self, consumer: Consumer) -> None:
        """Remove a consumer; what it has not acknowledged goes back, marked as redelivered."""
        consumers = self._consumers(consumer.destination)
        if consumer in consumers:
            consumers.remove(consumer)
            self._advise_all(consumer.destination)
        returned, consumer.unacked = consumer.unacked, []
        for message in returned:
            message.redelivered = True
            if consumer.destination.kind != "topic":
                self.send(message)

    def dispatch(self) -> None:
        """Hand out whatever somebody is ready for."""
        for queue in tuple(self._queues.values()):
            queue.dispatch(self._now_ms())

    def queue(self, destination: Destination) -> Queue:
        """Return a queue, without what has expired."""
        queue = self._queues.setdefault(destination, Queue())
        queue.forget_expired(self._now_ms())
        return queue

    def restart(self) -> None:
        """Do what a broker's restart does: persistent messages in queues stay, all else goes."""
        kept = [message for message in self._messages() if message.persistent]
        self._queues.clear()
        self._topics.clear()
        for message in kept:
            self.send(message)

    def _messages(self) -> Iterator[Message]:
        for destination, queue in self._queues.items():
            if destination.kind == "queue":
                yield from queue.waiting

    def _all_consumers(self) -> Iterator[tuple[Destination, list[Consumer]]]:
        yield from ((destination, queue.consumers) for destination, queue in self._queues.items())
        yield from ((topic, consumers) for topic, consumers in self._topics.items() if topic != ALL_ADVISORIES)

    def _advise_all(self, destination: Destination) -> None:
        if destination != ALL_ADVISORIES:
            self._advise(destination, self._consumers(destination), self._topics.get(ALL_ADVISORIES, []))

    @staticmethod
    def _advise(destination: Destination, consumers: list[Consumer], told: list[Consumer]) -> None:
        kind = "Topic" if destination.kind == "topic" else "Queue"
        topic = Destination("topic", f"{_ADVISORIES}{kind}.{destination.name}")
        for one in tuple(told):
            properties = {"consumerCount": str(len(consumers))}
            one.take(Message("ID:fake-advisory", 0, topic, properties, b"", text=True, priority=0, type="Advisory"))

    def _consumers(self, destination: Destination) -> list[Consumer]:
        if destination.kind == "topic":
            return self._topics.setdefault(destination, [])
        return self.queue(destination).consumers if self.exists(destination) else []
