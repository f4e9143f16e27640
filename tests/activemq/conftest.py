"""Peers for tests of the client and of FakeBroker: a bare STOMP client, and a server that says what a test says."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Self

import pytest
import trustme

from activemq.frames import CLIENT_COMMANDS, SERVER_COMMANDS, Frame, encode
from activemq.parser import Parser
from activemq.testing import FakeBroker

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


Connect = Callable[..., Awaitable[Wire]]


@pytest.fixture
async def fake() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as broker:
        yield broker


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as one:
        yield one


@pytest.fixture
async def connect(fake: FakeBroker) -> AsyncIterator[Connect]:
    """``await connect()`` gives a bare STOMP client, logged in at the fake broker or at ``port``."""
    wires: list[Wire] = []

    async def connect(port: int | None = None, version: str = "1.2", **headers: str) -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port or fake.port), SERVER_COMMANDS)
        wires.append(wire)
        wire.send("CONNECT", accept_version=version, host="/", **headers)
        assert (await wire.frame()).command == "CONNECTED"
        return wire

    yield connect
    for wire in wires:
        await wire.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait until a condition holds, however busy the machine is."""

    async def eventually(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - conditions of all kinds have no event in common
                await asyncio.sleep(0.005)

    return eventually


@pytest.fixture(scope="session")
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context that trust each other, for 127.0.0.1."""
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    return server_side, client_side
