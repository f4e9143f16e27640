from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from activemq.embedded import ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def server(answer: bytes, *, parts: int = 1) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that reads one frame, answers, and closes."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\0"))
        size = max(1, len(answer) // parts)
        for start in range(0, len(answer), size):
            writer.write(answer[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], got


CONNECTED = b"CONNECTED\nversion:1.2\nserver:ActiveMQ/6.3.1\n\n\0"


@pytest.mark.parametrize("parts", [1, len(CONNECTED)])
async def test_connected_is_the_answer(parts):
    async with server(CONNECTED, parts=parts) as (port, got):
        assert await ready.answers(port, "a:b", "p")
    assert got == [b"CONNECT\naccept-version:1.2\nhost:127.0.0.1\nheart-beat:0,0\nlogin:a:b\npasscode:p\n\n\0"]


async def test_line_ends_before_the_answer_are_allowed():
    async with server(b"\n\r\n" + CONNECTED) as (port, _):
        assert await ready.answers(port, "a", "p")


async def test_nothing_there_is_not_yet():
    async with server(CONNECTED) as (port, _):
        pass
    assert not await ready.answers(port, "a", "p")


@pytest.mark.parametrize("answer", [b"", b"CONNEC"])
async def test_a_connection_that_ends_before_an_answer_is_not_yet(answer):
    async with server(answer) as (port, _):
        assert not await ready.answers(port, "a", "p")


async def test_no_answer_in_time_is_not_yet(monkeypatch):
    monkeypatch.setattr(ready, "_ANSWER_TIMEOUT", 0.05)
    done = asyncio.Event()

    async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    listening = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with listening:
        assert not await ready.answers(listening.sockets[0].getsockname()[1], "a", "p")
        done.set()


async def test_an_error_frame_is_a_refusal_with_its_message():
    async with server(b"ERROR\nmessage:User name [a] or password is invalid.\n\nstack\0") as (port, _):
        with pytest.raises(ready.RefusedError, match=r"^ERROR message:User name \[a\] or password is invalid\.$"):
            await ready.answers(port, "a", "p")


async def test_another_protocol_is_a_refusal():
    async with server(b"HTTP/1.1 400 Bad Request\r\n\r\n\0") as (port, _):
        with pytest.raises(ready.RefusedError, match=r"HTTP/1\.1 400"):
            await ready.answers(port, "a", "p")


async def test_an_endless_answer_is_a_refusal():
    async with server(b"x" * 200_000) as (port, _):
        with pytest.raises(ready.RefusedError, match="not STOMP"):
            await ready.answers(port, "a", "p")
