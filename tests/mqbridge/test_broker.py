"""`mqbridge broker`: what it says of a port that is taken, and a signal while it starts."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mqbridge.lifetime import entered
from tests.mqbridge.inprocess import run


@pytest.mark.parametrize("option", ["--stomp-port", "--openwire-port"])
def test_the_option_of_a_port_that_is_taken_is_named(option: str, tmp_path: Path) -> None:
    other = {"--stomp-port": "--openwire-port", "--openwire-port": "--stomp-port"}[option]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("broker", option, port, other, 0, "--data", tmp_path / "data")
    assert ran.code == 1
    assert f"port {port} on 127.0.0.1 is in use; {option} chooses another" in ran.err


class Slow:
    """What takes until it is told to start, and keeps what happens to it."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.begun = asyncio.Event()
        self.log: list[str] = []

    @asynccontextmanager
    async def running(self):
        self.begun.set()
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.log.append("given up")
            raise
        yield
        self.log.append("stopped")


async def test_a_signal_while_it_starts_gives_the_start_up() -> None:
    slow, stop = Slow(), asyncio.Event()
    stopping = asyncio.create_task(stop.wait())
    async with AsyncExitStack() as stack:
        entering = asyncio.create_task(entered(stack, slow.running(), stopping))
        await slow.begun.wait()
        stop.set()
        assert await asyncio.wait_for(entering, 10) is False
    assert slow.log == ["given up"]


async def test_one_that_has_started_is_stopped_at_the_end() -> None:
    slow, stop = Slow(), asyncio.Event()
    stopping = asyncio.create_task(stop.wait())
    async with AsyncExitStack() as stack:
        slow.goes_on.set()
        assert await entered(stack, slow.running(), stopping) is True
        assert slow.log == []
    assert slow.log == ["stopped"]
    stopping.cancel()


async def test_a_start_that_fails_says_why() -> None:
    @asynccontextmanager
    async def broken():
        raise ZeroDivisionError
        yield

    stopping = asyncio.create_task(asyncio.Event().wait())
    async with AsyncExitStack() as stack:
        with pytest.raises(ZeroDivisionError):
            await entered(stack, broken(), stopping)
    stopping.cancel()


async def test_cancelled_it_leaves_nothing_that_starts() -> None:
    slow = Slow()
    stopping = asyncio.create_task(asyncio.Event().wait())
    async with AsyncExitStack() as stack:
        entering = asyncio.create_task(entered(stack, slow.running(), stopping))
        await slow.begun.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
    assert slow.log == ["given up"]
    stopping.cancel()
