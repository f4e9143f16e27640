"""Callers that say exactly what a test wants said: httpx is too polite to be malformed, slow or gone."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

PATIENCE = 20.0  # seconds; a bound on what must happen, not a time that is measured
Headers = list[tuple[str, str]]


@dataclass
class Response:
    """What came back; header names in lower case."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        """The header's value, None if it is not there; a test that expects one may not get two."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def is_problem(self) -> bool:
        return self.get("content-type") == "application/problem+json"

    @property
    def problem(self) -> dict[str, Any]:
        assert self.is_problem, f"{self.status} {self.headers} {self.body[:200]!r}"
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def name(self) -> str:
        """The problem's name."""
        return str(self.problem["type"]).rpartition("/")[2]


def request(
    target: str | bytes,
    body: bytes | None = b"",
    *,
    method: str = "POST",
    headers: tuple[tuple[str, str | bytes], ...] = (),
    host: str | None = "localhost",
) -> bytes:
    """Encode a request as it is asked for; ``body`` None: no Content-Length at all."""
    path = target if isinstance(target, bytes) else target.encode()
    lines = [b"%b %b HTTP/1.1" % (method.encode(), path)]
    if host is not None:
        lines.append(b"Host: " + host.encode())
    for name, value in headers:
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode("latin-1")))
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def chunked(*parts: bytes, end: bool = True) -> bytes:
    """A chunked body."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return data + b"0\r\n\r\n" if end else data


class Caller:
    """One TCP connection to a bridge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int | None = None, address: str = "127.0.0.1") -> Self:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        limit = 2**16 if receive_buffer is None else receive_buffer
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
            return cls(*await asyncio.open_connection(sock=sock, limit=limit))
        except BaseException:  # also if the test gives up on this caller
            sock.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def response(self, method: str = "POST") -> Response:
        """Read one response; ConnectionError or IncompleteReadError if there is none."""
        async with asyncio.timeout(PATIENCE):
            status, headers = await self._head()
            while status == 100:
                status, headers = await self._head()
            response = Response(status, headers)
            if method != "HEAD" and status not in (204, 304):
                response.body = await self._body(response)
        return response

    async def raw_until(self, end: bytes) -> bytes:
        """Read what comes up to ``end``; return it without."""
        async with asyncio.timeout(PATIENCE):
            return (await self._reader.readuntil(end)).removesuffix(end)

    async def raw_exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readexactly(size)

    async def _head(self) -> tuple[int, Headers]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        version, status, *_ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = (line.partition(":") for line in lines)
        return int(status), [(name.lower(), value.strip()) for name, _, value in pairs]

    async def _body(self, response: Response) -> bytes:
        length = response.get("content-length")
        if length is not None:
            return await self._reader.readexactly(int(length))
        if response.get("transfer-encoding") == "chunked":
            return await self._chunks()
        return await self._reader.read()

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body

    async def ended(self) -> bytes:
        """Wait until the bridge has closed the connection; return what came before."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def half_close(self) -> None:
        """Say that nothing more is sent, and still read."""
        self._writer.write_eof()

    async def reset(self) -> None:
        """Leave with a RST, as a killed process with unread data does."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        await self.close()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):  # the other side may have closed it
            await self._writer.wait_closed()


async def call(
    port: int,
    target: str | bytes = "/echo",
    body: bytes | None = b"",
    *,
    method: str = "POST",
    headers: tuple[tuple[str, str | bytes], ...] = (),
    host: str | None = "localhost",
    address: str = "127.0.0.1",
) -> Response:
    """Make one call on a connection of its own."""
    async with await Caller.connect(port, address=address) as caller:
        await caller.send(request(target, body, method=method, headers=headers, host=host))
        return await caller.response(method)


async def until(condition: Any, what: str = "the condition") -> None:
    """Poll until ``condition()`` is true; AssertionError if it does not come true in time."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what is looked at cannot tell
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {PATIENCE:g} s") from None
