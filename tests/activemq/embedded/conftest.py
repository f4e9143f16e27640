"""What the tests of the embedded broker share: a bounded wait, a look at processes, a STOMP peer by hand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


async def _until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not become true within {seconds} s"
        await asyncio.sleep(0.02)


@pytest.fixture
def until():
    """``await until(condition)``: polls, and fails after a bound."""
    return _until


def _gone(pid: int) -> bool:
    """A zombie has ended too: who inherits it may never ask."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


@pytest.fixture
def gone():
    return _gone


@dataclass
class Frame:
    command: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """A STOMP connection as plain as can be, so that nothing but the broker is under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, command: str, body: bytes = b"", **headers: object) -> None:
        lines = [command, *(f"{name.replace('_', '-')}:{value}" for name, value in headers.items())]
        self._writer.write("\n".join(lines).encode() + b"\n\n" + body + b"\0")

    async def receive(self, seconds: float = 10.0) -> Frame:
        async with asyncio.timeout(seconds):
            raw = await self._reader.readuntil(b"\0")
        head, _, body = raw[:-1].lstrip(b"\n").partition(b"\n\n")
        command, *lines = head.decode().split("\n")
        return Frame(command, dict(line.split(":", 1) for line in lines), body)

    async def ask(self, command: str, body: bytes = b"", **headers: object) -> Frame:
        """Send with a receipt and return the RECEIPT or the ERROR."""
        self.send(command, body, receipt="asked", **headers)
        while True:
            frame = await self.receive()
            if frame.headers.get("receipt-id") == "asked":
                return frame

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@pytest.fixture
async def connect() -> AsyncIterator:
    """``await connect(broker)`` or ``connect(broker, login, passcode)``: a ``Peer`` and the broker's first frame."""
    peers: list[Peer] = []

    async def make(broker, login: str | None = None, passcode: str | None = None) -> tuple[Peer, Frame]:
        streams = await asyncio.open_connection("127.0.0.1", broker.stomp_port, limit=16 * 1024 * 1024)
        peer = Peer(*streams)
        peers.append(peer)
        peer.send(
            "CONNECT",
            accept_version="1.2",
            host="127.0.0.1",
            login=login or broker.login,
            passcode=passcode or broker.passcode,
        )
        return peer, await peer.receive()

    yield make
    for peer in peers:
        await peer.close()
