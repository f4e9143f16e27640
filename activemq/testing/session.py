"""One connection to the fake broker."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from activemq.errors import RemoteProtocolError
from activemq.frames import CLIENT_COMMANDS, encode
from activemq.parser import Parser
from activemq.testing.store import Consumer, Destination, ForbiddenError, Message, RefusedError, Store
from activemq.testing.translate import destination_of, encode_message, message_of, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from activemq.frames import Frame

_VERSIONS: Final = ("1.2", "1.1")
_DEFAULT_PREFETCH: Final = 1_000
_PATIENCE: Final = 2.0  # a client may be silent for so many times the interval that was agreed
_SECRET: Final = ("login", "passcode")
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER, 0 s


@dataclass(frozen=True, slots=True)
class Received:
    """A frame that a client sent; ``connection`` counts from 1. Its ``repr`` leaves credentials out."""

    command: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def __repr__(self) -> str:
        shown = {name: "***" if name in _SECRET else value for name, value in self.headers.items()}
        return f"Received({self.command!r}, {shown}, {self.body!r}, connection={self.connection})"


@dataclass(eq=False, slots=True)
class Shared:
    """What all connections of one broker share."""

    login: str | None
    passcode: str | None = field(repr=False)
    server: str
    heartbeat_ms: int
    clock_offset: float = 0.0
    running: bool = False
    paused: bool = False
    refusals: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    connection_numbers: count[int] = field(default_factory=lambda: count(1))
    message_numbers: count[int] = field(default_factory=lambda: count(1))
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        self.store = Store(self.now_ms)

    def now_ms(self) -> int:
        """Return the broker's time, epoch ms."""
        return int((time.time() + self.clock_offset) * 1_000)


@dataclass(eq=False, slots=True)
class _Transaction:
    """What a COMMIT will do. ``acks`` are spent by it, also if a refused SEND has ``spoilt`` it."""

    actions: list[Callable[[], None]] = field(default_factory=list)
    acks: list[str] = field(default_factory=list)
    spoilt: bool = False


class Session(asyncio.Protocol):
    """A client's connection, from its first byte to its end."""

    def __init__(self, shared: Shared) -> None:
        self.number = next(shared.connection_numbers)
        self.connected = False  # has the client said who it is
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._shared = shared
        self._parser = Parser(commands=CLIENT_COMMANDS)
        self._transport: asyncio.Transport | None = None
        self._consumers: dict[str, Consumer] = {}
        self._temporary: dict[str, Destination] = {}
        self._delivered: dict[str, tuple[Consumer, Message]] = {}
        self._transactions: dict[str, _Transaction] = {}
        self._acks = count(1)
        self._last_received = 0.0
        self._expect_every = 0.0
        self._beat: asyncio.TimerHandle | None = None

    # -- what the broker calls

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self._transport is not None:
            self._transport.write(data)

    def pause(self, paused: bool) -> None:
        """Read no more, or go on."""
        if self._transport is not None and not self._transport.is_closing():
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def reset(self) -> None:
        """Close with a TCP reset."""
        if self._transport is not None:
            sock: socket.socket | None = self._transport.get_extra_info("socket")
            if sock is not None and not self._transport.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    # -- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are none of asyncio's classes
        self._shared.sessions.append(self)
        if not self._shared.running:
            self.reset()
        elif self._shared.paused:
            self.pause(True)

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._last_received = asyncio.get_running_loop().time()
        try:
            for frame in self._parser.feed(data):
                self._receive(frame)
        except RemoteProtocolError as error:
            self._hang_up(str(error))
        except ValueError:  # a number that is none, a nameless queue: Classic hangs up without an ERROR [6.3.1]
            self.reset()
        self._shared.store.dispatch()

    def connection_lost(self, _exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`; what was not acknowledged goes to others."""
        self._transport = None
        self._shared.sessions.remove(self)
        if self._beat is not None:
            self._beat.cancel()
        for destination in self._temporary.values():
            self._shared.store.delete(destination)
        for consumer in self._consumers.values():
            self._shared.store.unsubscribe(consumer)
        self._shared.store.dispatch()
        self.closed.set_result(None)

    # -- frames in

    def _receive(self, frame: Frame) -> None:
        headers = frame.headers
        if self._transport is None or self._transport.is_closing():
            return
        self._shared.received.append(Received(frame.command, headers, frame.body, self.number))
        if self.connected == (frame.command in ("CONNECT", "STOMP")):
            raise RemoteProtocolError(f"unexpected {frame.command}")
        receipt = headers.get("receipt")
        try:
            self._handle(frame.command, headers, frame.body)
        except RefusedError as error:
            self._error(str(error), receipt)
        else:
            if receipt is not None:
                self.write(encode("RECEIPT", [("receipt-id", receipt)]) + b"\n")
        if frame.command == "DISCONNECT":
            self._transport.close()

    def _handle(self, command: str, headers: dict[str, str], body: bytes) -> None:
        if command == "SEND":
            self._on_send(headers, body)
        elif command == "SUBSCRIBE":
            self._on_subscribe(headers)
        elif command == "UNSUBSCRIBE":
            self._on_unsubscribe(headers)
        elif command in ("ACK", "NACK"):
            self._on_ack(headers, refused=command == "NACK")
        elif command in ("BEGIN", "COMMIT", "ABORT"):
            self._on_transaction(command, headers)
        elif command in ("CONNECT", "STOMP"):
            self._on_connect(headers)

    def _on_connect(self, headers: dict[str, str]) -> None:
        offered = headers.get("accept-version", "1.0").split(",")
        version = next((version for version in _VERSIONS if version in offered), None)
        shared = self._shared
        if version is None:
            self._hang_up(f"Invalid Protocol version{offered}, supported versions are: {list(_VERSIONS)}")
        elif shared.login is not None and (headers.get("login"), headers.get("passcode")) != (
            shared.login,
            shared.passcode,
        ):
            self._hang_up(f"User name [{headers.get('login')}] or password is invalid.")
        else:
            self.connected = True
            self._parser.version = version
            beats = f"{shared.heartbeat_ms},{shared.heartbeat_ms}"
            # not escaped: STOMP 1.2, "Value Encoding"
            head = f"server:{shared.server}\nheart-beat:{beats}\nsession:ID:fake-1:{self.number}\nversion:{version}"
            self.write(f"CONNECTED\n{head}\n\n\0\n".encode())
            self._start_beating(*map(int, headers.get("heart-beat", "0,0").split(",")))

    def _on_send(self, headers: dict[str, str], body: bytes) -> None:
        store = self._shared.store
        try:
            destination = self._destination(headers, "SEND received without a Destination specified!")
            store.require(destination)
        except ForbiddenError:
            transaction = self._transactions.get(headers.get("transaction", ""))
            if transaction is not None and "receipt" not in headers:
                transaction.spoilt = True  # with a receipt Classic forgets about it, and COMMIT succeeds [6.3.1]
            raise
        message = message_of(
            headers,
            body,
            destination=destination,
            reply_to=self._reply_to(headers.get("reply-to")),
            number=next(self._shared.message_numbers),
            now_ms=self._shared.now_ms(),
        )
        self._do(headers, partial(store.send, message))

    def _on_subscribe(self, headers: dict[str, str]) -> None:
        destination = self._destination(headers, "Invalid empty or 'null' Destination header")
        if "id" not in headers:
            raise RefusedError("SUBSCRIBE received without a subscription id!")
        if destination.kind == "temp-queue" and destination not in self._temporary.values():
            raise RefusedError(
                "Subscribing to a temporary queue created by another connection is not permitted"
                if self._shared.store.exists(destination)
                else str(destination)
            )
        consumer = Consumer(
            headers["id"],
            destination,
            headers.get("ack", "auto"),
            int(headers.get("activemq.prefetchSize", _DEFAULT_PREFETCH)),
            self._deliver,
        )
        self._on_unsubscribe(headers, known=False)
        self._consumers[consumer.id] = consumer
        self._shared.store.subscribe(consumer)

    def _on_unsubscribe(self, headers: dict[str, str], *, known: bool = True) -> None:
        consumer = self._consumers.pop(headers.get("id", ""), None)
        if consumer is not None:
            self._delivered = {ack: entry for ack, entry in self._delivered.items() if entry[0] is not consumer}
            self._shared.store.unsubscribe(consumer)
        elif known:
            raise RefusedError("No subscription matched.")

    def _on_ack(self, headers: dict[str, str], *, refused: bool) -> None:
        ack = headers.get("id", "") if self._parser.version == "1.2" else headers.get("message-id", "")
        entry = self._delivered.get(ack)
        if entry is None:
            raise RefusedError("Unexpected ACK received for message-id [null]")
        self._do(headers, partial(self._settle, ack, *entry, refused=refused))
        if "transaction" in headers:
            self._transactions[headers["transaction"]].acks.append(ack)

    def _on_transaction(self, command: str, headers: dict[str, str]) -> None:
        name = headers.get("transaction", "")
        if command == "BEGIN":
            if name in self._transactions:
                raise RefusedError(f"The transaction was already started: {name}")
            self._transactions[name] = _Transaction()
            return
        transaction = self._transactions.pop(name, None)
        if transaction is None:
            raise RefusedError(f"Invalid transaction id: {name}")
        if command == "COMMIT" and transaction.spoilt:
            for ack in transaction.acks:
                self._strand(ack)
            raise RefusedError("COMMIT FAILED: Transaction marked rollback only xaErrorCode:100")
        if command == "COMMIT":
            for action in transaction.actions:
                action()

    # -- inside

    def _do(self, headers: dict[str, str], action: Callable[[], None]) -> None:
        """Do it now, or when the transaction that the frame names is committed."""
        name = headers.get("transaction")
        if name is None:
            action()
        elif name in self._transactions:
            self._transactions[name].actions.append(action)
        else:
            raise RefusedError(f"Invalid transaction id: {name}")

    def _destination(self, headers: dict[str, str], missing: str) -> Destination:
        name = headers.get("destination")
        if name is None:
            raise RefusedError(missing)
        destination = self._own(name) or destination_of(name)
        reason = self._shared.refusals.get(name) or self._shared.refusals.get(self._show(destination))
        if reason is not None:
            raise ForbiddenError(reason)
        return destination

    def _reply_to(self, name: str | None) -> Destination | str | None:
        if name is None:
            return None
        return self._own(name) or (destination_of(name) if name.startswith("/") else name)

    def _own(self, name: str) -> Destination | None:
        """Return this connection's temporary queue of that name, made at its first mention."""
        if not name.startswith("/temp-queue/"):
            return None
        if name not in self._temporary:
            self._temporary[name] = Destination("temp-queue", f"ID:fake-1:{self.number}:{len(self._temporary) + 1}")
            self._shared.store.create(self._temporary[name])
        return self._temporary[name]

    def _show(self, destination: Destination) -> str:
        own = (name for name, temporary in self._temporary.items() if temporary == destination)
        return next(own, None) or name_of(destination)

    def _deliver(self, consumer: Consumer, message: Message) -> None:
        ack: str | None = None
        if consumer.ack != "auto":
            ack = f"ID:fake-2:{self.number}:{next(self._acks)}"
            key = ack if self._parser.version == "1.2" else message.id
            self._delivered[key] = consumer, message
        self.write(encode_message(message, consumer.id, ack, self._show))

    def _settle(self, ack: str, consumer: Consumer, message: Message, *, refused: bool) -> None:
        if self._delivered.pop(ack, None) is None:
            return
        upto = consumer.unacked.index(message)
        first = 0 if consumer.ack == "client" else upto  # `client` acknowledges all before it, too
        settled = consumer.unacked[first : upto + 1]
        del consumer.unacked[first : upto + 1]
        if refused:
            for one in settled:
                self._shared.store.bury(one)

    def _strand(self, ack: str) -> None:
        """Keep a message from everybody until this connection ends, as Classic does after a COMMIT that failed."""
        consumer, message = self._delivered.pop(ack)
        consumer.unacked.remove(message)
        self._consumers[f"stranded {ack}"] = Consumer("", consumer.destination, "client", 0, self._deliver, [message])

    def _error(self, message: str, receipt: str | None) -> None:
        headers = {"content-type": "text/plain", "receipt-id": receipt or "", "message": message}
        if receipt is None:
            del headers["receipt-id"]
        self.write(encode("ERROR", headers.items(), message.encode()) + b"\n")

    def _hang_up(self, message: str) -> None:
        self._error(message, None)
        if self._transport is not None:
            self._transport.close()

    def _start_beating(self, theirs_out: int, theirs_in: int) -> None:
        ours = self._shared.heartbeat_ms
        if ours and theirs_out:
            self._expect_every = max(ours, theirs_out) / 1_000
        if ours and (theirs_in or theirs_out):
            self._on_beat((max(ours, theirs_in) if theirs_in else ours) / 1_000, bool(theirs_in))

    def _on_beat(self, every: float, send: bool) -> None:
        loop = asyncio.get_running_loop()
        if not self._shared.paused:
            if self._expect_every and loop.time() - self._last_received > self._expect_every * _PATIENCE:
                self.reset()
                return
            if send:
                self.write(b"\n")
        self._beat = loop.call_later(every, self._on_beat, every, send)
