"""A message put in the place of another."""

import asyncio
from collections.abc import Sequence

import pytest

from activemq.client import Client
from activemq.errors import ConnectionLostError, ServerError
from activemq.frames import Frame, encode
from activemq.testing import FakeBroker
from tests.activemq.harness import SEND, Eventually, against, connected, consume, echo, of

pytestmark = pytest.mark.usefixtures("no_task_is_left", "logs")


def copy_of(extra: Sequence[tuple[str, str]]) -> bytes:
    return encode("SEND", [("destination", "/queue/copy"), *extra], b"copy")


async def take(client: Client) -> Frame:
    received: asyncio.Queue[Frame] = asyncio.Queue()
    client.subscribe(consume("a"), received.put_nowait)
    client.send(SEND)
    return await asyncio.wait_for(received.get(), 10)


async def test_a_move_is_one_transaction(fake: FakeBroker) -> None:
    async with connected(fake) as client:
        await client.move(await take(client), 1, copy_of, "2")
        assert [message.body for message in fake.messages("copy")] == [b"copy"]
        assert fake.unacknowledged("a") == fake.messages("a") == []
        assert client._receipts == {}
    moved = [frame for frame in fake.received if "transaction" in frame.headers]
    assert [frame.command for frame in moved] == ["BEGIN", "SEND", "ACK", "COMMIT"]
    assert len({frame.headers["transaction"] for frame in moved}) == 1


async def test_a_message_of_an_earlier_connection_is_not_moved(fake: FakeBroker, eventually: Eventually) -> None:
    async with connected(fake) as client:
        frame = await take(client)
        await fake.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
        with pytest.raises(ConnectionLostError, match="the message's connection is gone"):
            await client.move(frame, 1, copy_of, "2")
    assert of(fake, "BEGIN") == []


@pytest.mark.parametrize("step", ["before the copy is taken", "before the commit"])
async def test_a_connection_lost_in_a_move_is_told(server, step: str) -> None:
    async with against(server) as client:
        wire = await server.accept()
        await echo(wire)
        await asyncio.wait_for(client.wait_connected(), 10)
        moving = asyncio.create_task(client.move(Frame.of("MESSAGE", {"ack": "1"}), 1, copy_of, "2"))
        begin, send = await wire.frame(), await wire.frame()
        assert (begin.command, send.command) == ("BEGIN", "SEND")
        if step == "before the commit":
            wire.write(encode("RECEIPT", [("receipt-id", send.get("receipt"))]))
            ack, commit = await wire.frame(), await wire.frame()
            assert (ack.command, ack.get("id"), commit.command) == ("ACK", "1", "COMMIT")
        await wire.close()
        with pytest.raises(ConnectionLostError):
            await moving
        assert client._receipts == {}


async def test_a_refused_copy_is_not_followed_by_the_acknowledgement(fake: FakeBroker) -> None:
    fake.refuse("/queue/copy", "no")
    async with connected(fake) as client:
        frame = await take(client)
        with pytest.raises(ServerError, match="no"):
            await client.move(frame, 1, copy_of, "2")
        assert client.ack(frame, 1)
        await client.request_receipt(SEND, "r1", timeout=10)
    moved = [frame.command for frame in fake.received if "transaction" in frame.headers]
    assert moved == ["BEGIN", "SEND", "ABORT"]


async def test_a_cancelled_move_is_aborted(fake: FakeBroker, eventually: Eventually) -> None:
    async with connected(fake) as client:
        frame = await take(client)
        fake.pause()
        moving = asyncio.create_task(client.move(frame, 1, copy_of, "2"))
        await asyncio.sleep(0)
        moving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await moving
        fake.resume()
        await eventually(lambda: of(fake, "ABORT"))
        assert client.ack(frame, 1)
        await eventually(lambda: not fake.unacknowledged("a"))
        assert fake.messages("copy") == []


async def test_a_copy_that_cannot_be_made_leaves_no_transaction(fake: FakeBroker) -> None:
    def encode_it(extra: Sequence[tuple[str, str]]) -> bytes:
        raise ZeroDivisionError(extra)

    async with connected(fake) as client:
        with pytest.raises(ZeroDivisionError):
            await client.move(await take(client), 1, encode_it, "2")
        await client.request_receipt(SEND, "r1", timeout=10)
    assert of(fake, "BEGIN") == []
