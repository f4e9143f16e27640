"""Peers for tests of the client and of FakeBroker: a bare STOMP client, a server that says what a test says."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

from activemq.brokers import Profile
from activemq.client import Backoff, Client
from activemq.client import Server as Address
from activemq.connection import HIGH_WATER, Connection
from activemq.frames import CLIENT_COMMANDS, Frame, encode
from activemq.message import ReplyMessage, RequestMessage
from activemq.parser import Parser
from activemq.protocol import Credentials, Stomp
from activemq.testing import FakeBroker, Received

PATIENCE = 10.0  # seconds; how long a test waits for what must happen
CONNECTED = b"CONNECTED\nversion:1.2\nserver:ActiveMQ/6.3.1\nheart-beat:%d,%d\n\n\0\n"


class Wire:
    """One end of a connection, frame by frame, with nothing done by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: frozenset[str]) -> None:
        self.reader = reader
        self.writer = writer
        self._parser = Parser(commands=commands)
        self._frames: list[Frame] = []
        self._receipts = itertools.count(1)

    def send(self, command: str, body: bytes = b"", /, **headers: object) -> None:
        """Header names are given with ``_`` for ``-``; a trailing ``_`` is left out (``id_``)."""
        named = [(name.rstrip("_").replace("_", "-"), str(value)) for name, value in headers.items()]
        self.write(encode(command, named, body))

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> Frame:
        """The next frame; EOFError if there is none to come."""
        async with asyncio.timeout(PATIENCE):
            while not self._frames:
                data = await self.reader.read(65_536)
                if not data:
                    raise EOFError
                self._frames.extend(self._parser.feed(data))
        return self._frames.pop(0)

    async def done(self, command: str, body: bytes = b"", /, **headers: object) -> Frame:
        """Send with a receipt; return the RECEIPT or ERROR that answers it. Other frames stay for :meth:`frame`."""
        receipt = f"done-{next(self._receipts)}"
        self.send(command, body, **headers, receipt=receipt)
        others = []
        while (frame := await self.frame()).get("receipt-id") != receipt:
            others.append(frame)
        self._frames[:0] = others
        return frame

    async def quiet(self) -> bool:
        """Whether nothing had come before the answer to something harmless."""
        await self.done("BEGIN", transaction="quiet")
        await self.done("ABORT", transaction="quiet")
        return not self._frames

    async def eof(self) -> None:
        """Wait until the other side has closed or reset."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Server:
    """A TCP server on loopback whose every connection is in the test's hands."""

    def __init__(self) -> None:
        self.port = 0
        self._accepted: asyncio.Queue[Wire] = asyncio.Queue()
        self._wires: list[Wire] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def hang_up(self) -> None:
        """Listen no more, and close what there is."""
        assert self._server is not None
        self._server.close()
        for wire in self._wires:
            await wire.close()
        await self._server.wait_closed()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer, CLIENT_COMMANDS)
        self._wires.append(wire)
        self._accepted.put_nowait(wire)

    async def accept(self, connected: bytes | None = CONNECTED % (0, 0)) -> Wire:
        """The next connection; its CONNECT is answered unless ``connected`` is None."""
        async with asyncio.timeout(PATIENCE):
            wire = await self._accepted.get()
        if connected is not None:
            assert (await wire.frame()).command == "CONNECT"
            wire.write(connected)
        return wire


Eventually = Callable[[Callable[[], object]], Awaitable[None]]
HOST = "127.0.0.1"
FRAME = encode("SEND", [("destination", "/queue/a")], b"x")
BIG = encode("SEND", [("destination", "/queue/a")], b"x" * 1_000_000)
QUICK = Backoff(0.001, 0.002)
SEND = encode("SEND", [("destination", "/queue/a"), ("receipt", "r1")], b"x")


def client_of(*brokers: FakeBroker | int, **options: object) -> Client:
    ports = [broker if isinstance(broker, int) else broker.port for broker in brokers]
    return Client([Address("127.0.0.1", port) for port in ports], **{"backoff": QUICK, "heartbeat": 0, **options})


@asynccontextmanager
async def connected(*brokers: FakeBroker | int, **options: object) -> AsyncIterator[Client]:
    async with client_of(*brokers, **options) as client:
        async with asyncio.timeout(10):
            await client.wait_connected()
        yield client


@asynccontextmanager
async def against(server) -> AsyncIterator[Client]:
    """A client of a server that a test plays itself, and that says no good-bye."""
    client = client_of(server.port)
    await client.start()
    try:
        yield client
    finally:
        await server.hang_up()
        await client.stop()


def consume(queue: str) -> Callable[[Profile], dict[str, str]]:
    return lambda profile: dict(profile.consume(queue))


def of(broker: FakeBroker, command: str) -> list[Received]:
    """What the broker was sent, without the clock's echo."""
    return [
        frame
        for frame in broker.received
        if frame.command == command and "clock" not in f"{frame.headers.get('id')}{frame.headers.get('destination')}"
    ]


async def echo(wire) -> None:
    """Answer the clock's question, for a server that a test plays itself."""
    subscribe = await wire.frame()
    send = await wire.frame()
    assert (subscribe.command, send.command) == ("SUBSCRIBE", "SEND")
    name, now = subscribe.get("id"), str(int(time.time() * 1_000))
    wire.write(encode("MESSAGE", [("subscription", name), ("timestamp", now)]))
    for frame in (subscribe, send):
        wire.write(encode("RECEIPT", [("receipt-id", frame.get("receipt"))]))
    assert (await wire.frame()).command == "UNSUBSCRIBE"


class Owner:
    """Who has a connection: keeps what it is told."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.lost: list[Exception] = []
        self.credentials = Credentials()

    async def open(
        self, port: int, *, heartbeat: float = 0.0, cls: type[Connection] = Connection, **options: object
    ) -> Connection:
        stomp = Stomp(self.credentials, heartbeat)
        return await cls.open(HOST, port, stomp, self.frames.append, self.lost.append, **options)

    def reason(self) -> str:
        (error,) = self.lost  # once, and only once
        return str(error)


async def fill(connection: Connection) -> None:
    """Write until more than the high watermark waits for a peer that does not read."""
    while connection.unsent <= HIGH_WATER:
        connection.write(BIG)
        await asyncio.sleep(0)


class Answers:
    """What came for receipts, in order."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Exception | None]] = []

    def __call__(self, receipt: str, error: Exception | None) -> None:
        self.got.append((receipt, error))


def sent(data: bytes) -> Frame:
    (frame,) = Parser(commands=CLIENT_COMMANDS).feed(data)
    assert frame.command == "SEND"
    return frame


def request(body: bytes = b"", /, **headers: str) -> RequestMessage:
    named = {name.replace("__", "-"): value for name, value in headers.items()}
    return RequestMessage(
        Frame.of("MESSAGE", {"correlation-id": "c1", "reply-to": "/remote-temp-queue/ID:1"} | named, body)
    )


def reply(body: bytes = b"", /, **headers: str) -> ReplyMessage:
    named = {name.replace("__", "-"): value for name, value in headers.items()}
    return ReplyMessage(Frame.of("MESSAGE", {"correlation-id": "c1"} | named, body))
