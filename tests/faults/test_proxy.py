"""The proxy does what it says, and nothing when it says nothing."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager

import pytest

from tests.activemq.harness import PATIENCE, Server
from tests.bridge.callers import until
from tests.faults.proxy import HIGH, NO_TROUBLE, Cut, Link, Trouble, corrupted


class Ear:
    """A recorder that keeps what it hears."""

    def __init__(self):
        self.up, self.down, self.spoilt = b"", b"", 0

    def from_client(self, data):
        self.up += data

    def from_broker(self, data):
        self.down += data

    def spoil(self):
        self.spoilt += 1


class Ends:
    """A client's and a broker's end of one connection through the proxy."""

    def __init__(self, link, ear, wire, reader, writer):
        self.link, self.ear, self.wire, self.reader, self.writer = link, ear, wire, reader, writer

    async def at_broker(self, size):
        return await self._read(self.wire.reader, size)

    async def at_client(self, size):
        return await self._read(self.reader, size)

    async def _read(self, reader, size):
        async with asyncio.timeout(PATIENCE):
            return await reader.readexactly(size)

    async def rest(self, reader):
        """All until the end; what came before it if that is a reset."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while more := await reader.read(65_536):
                    data += more
            except ConnectionResetError:
                data += b" RST"
        return data


@asynccontextmanager
async def through():
    ear = Ear()
    async with Server() as server:
        link = Link(server.port, lambda: ear)
        await link.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        try:
            yield Ends(link, ear, await server.accept(connected=None), reader, writer)
        finally:
            writer.close()
            await link.close()


@pytest.mark.parametrize(
    "trouble",
    [
        NO_TROUBLE,
        Trouble(delay=0.02, jitter=0.01),
        Trouble(slices=True),
        Trouble(rate=50_000),
        Trouble(cut_after=10**9),
    ],
    ids=["none", "delay", "slices", "rate", "late cut"],
)
async def test_all_bytes_come_through_in_their_order_both_ways(trouble):
    data = random.Random(7).randbytes(2_000)
    async with through() as ends:
        ends.link.set(trouble)
        for at in range(0, len(data), 100):
            ends.writer.write(data[at : at + 100])
            ends.wire.write(data[at : at + 100])
        assert await ends.at_broker(len(data)) == data
        assert await ends.at_client(len(data)) == data
        assert (ends.ear.up, ends.ear.down) == (data, data)


async def test_what_is_delayed_comes_later_and_at_once_when_it_is_over():
    async with through() as ends:
        ends.link.set(Trouble(delay=3_600.0), "up")
        ends.writer.write(b"up")
        ends.wire.write(b"down")
        assert await ends.at_client(4) == b"down"
        await until(lambda: ends.ear.up)
        assert not ends.wire.reader._buffer
        ends.link.set(NO_TROUBLE)
        assert await ends.at_broker(2) == b"up"


@pytest.mark.parametrize(("way", "open_way"), [("up", "down"), ("down", "up")])
async def test_a_stall_holds_one_way_and_a_heal_lets_all_of_it_go(way, open_way):
    async with through() as ends:
        ends.link.set(Trouble(stall=True), way)
        ends.writer.write(b"from the client")
        ends.wire.write(b"from the broker")
        stalled, flowing = (ends.at_broker, ends.at_client) if way == "up" else (ends.at_client, ends.at_broker)
        assert await flowing(15) in (b"from the broker", b"from the client")
        await until(lambda: ends.ear.up and ends.ear.down)
        ends.link.set(NO_TROUBLE)
        assert await stalled(15) in (b"from the broker", b"from the client")


async def test_a_stall_hides_the_end_of_the_other_side():
    async with through() as ends:
        ends.link.set(Trouble(stall=True))
        ends.writer.write(b"last words")
        await until(lambda: ends.ear.up)
        ends.writer.close()
        await ends.writer.wait_closed()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ends.wire.reader.read(1)
        ends.link.set(NO_TROUBLE)
        assert await ends.rest(ends.wire.reader) == b"last words"


async def test_who_does_not_read_is_felt_by_who_writes():
    async with through() as ends:
        ends.link.set(Trouble(stall=True), "up")
        for _ in range(64):
            ends.writer.write(bytes(HIGH))
        await until(lambda: len(ends.ear.up) > HIGH)
        (pair,) = ends.link.pairs
        await until(lambda: not pair.client.transport.is_reading())
        assert pair.up.size < 64 * HIGH
        ends.link.set(NO_TROUBLE)
        assert len(await ends.at_broker(64 * HIGH)) == 64 * HIGH


async def test_a_reset_is_seen_by_both():
    async with through() as ends:
        ends.writer.write(b"x")
        await ends.at_broker(1)
        ends.link.reset()
        assert await ends.rest(ends.reader) == b" RST"
        assert await ends.rest(ends.wire.reader) == b" RST"
        assert not ends.link.pairs


async def test_an_end_comes_through_behind_all_that_was_said():
    async with through() as ends:
        ends.link.set(Trouble(delay=0.05))
        ends.writer.write(b"last words")
        ends.writer.close()
        assert await ends.rest(ends.wire.reader) == b"last words"
        await until(lambda: not ends.link.pairs)


OTHER = b"\nSEND\n\nbody\0\n"
FRAME = b"SEND\nreceipt:1\n\nbody\0"


@pytest.mark.parametrize("after", range(len(FRAME) + 1))
async def test_a_frame_is_cut_behind_each_of_its_bytes(after):
    async with through() as ends:
        done = asyncio.get_running_loop().create_future()
        ends.link.cut = Cut("up", b"SEND\n", b"receipt", after, done)
        ends.writer.write(OTHER + FRAME)
        got = await ends.rest(ends.wire.reader)
        assert await done == len(FRAME)
    assert got.removesuffix(b" RST") in (
        (OTHER + FRAME)[: len(OTHER) + after],
        b"",
    )  # a RST may overtake what was not read yet
    assert ends.link.cut is None


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_flipped_bit_is_one_bit_and_a_nul_is_one_byte(size):
    chance, data = random.Random(size), bytes(range(1, size + 1))
    always = 1_000_000
    flipped = corrupted(data, Trouble(flip=always), chance)
    assert sum((a ^ b).bit_count() for a, b in zip(data, flipped, strict=True)) == 1
    longer = corrupted(data, Trouble(nul=always), chance)
    assert (len(longer), longer.replace(b"\0", b"", 1)) == (size + 1, data)
    assert corrupted(data, NO_TROUBLE, chance) == data


async def test_who_changes_bytes_tells_the_recorder():
    async with through() as ends:
        ends.link.set(Trouble(delay=0.01))
        assert not ends.ear.spoilt
        ends.link.set(Trouble(nul=1_000_000))
        assert ends.ear.spoilt
        ends.writer.write(b"abc")
        assert sorted(await ends.at_broker(4)) == [0, 97, 98, 99]


async def test_without_a_broker_behind_it_a_connection_is_reset():
    link = Link(1, Ear)
    await link.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
    writer.close()
    await link.close()
