"""A body that comes in drips, or stops coming, and the deadline of its request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from bridge.client import AsyncBridgeTransport
from tests.bridge.callers import PATIENCE


class Dripping(httpx.AsyncByteStream):
    """A part, and then nothing for ever."""

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"a part"
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("status", [200, 503])  # one that is handed on as it comes, and one that is looked at first
async def test_a_body_that_stops_is_given_up_at_the_deadline(status: int) -> None:
    body = Dripping()
    bridge = httpx.MockTransport(lambda _: httpx.Response(status, stream=body))
    transport = AsyncBridgeTransport("http://a:1", deadline=0.2, transport=bridge)
    async with httpx.AsyncClient(transport=transport, base_url="http://a:1") as client:
        with pytest.raises(httpx.ReadTimeout, match="the deadline is over"):
            await asyncio.wait_for(client.get("/r"), PATIENCE)
    assert body.closed


async def test_a_body_that_is_whole_in_time_is_handed_on() -> None:
    bridge = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(b"all of it")))
    transport = AsyncBridgeTransport("http://a:1", deadline=PATIENCE, transport=bridge)
    async with httpx.AsyncClient(transport=transport, base_url="http://a:1") as client:
        assert (await client.get("/r")).content == b"all of it"
