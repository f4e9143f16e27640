"""One socket: how it ends, heart-beats, and cancellation at each await."""

import asyncio
import ssl

import pytest

from activemq.connection import Connection
from activemq.errors import (
    ConnectionLostError,
    NotConnectedError,
    RemoteProtocolError,
)
from activemq.frames import Frame
from activemq.protocol import Stomp
from activemq.testing import FakeBroker
from tests.activemq.harness import FRAME, HOST, Eventually, Owner, fill

# -- the end


async def test_close_says_disconnect_and_waits_for_its_receipt(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept()
    connection = await opening
    connection.write(FRAME)
    closing = asyncio.create_task(connection.close())
    assert (await wire.frame()).command == "SEND"
    goodbye = await wire.frame()
    assert goodbye.command == "DISCONNECT"
    assert not closing.done()
    wire.write(b"RECEIPT\nreceipt-id:%b\n\n\0" % goodbye.get("receipt").encode())
    await closing
    assert owner.reason() == "closed by us"
    assert connection.closed.done()


async def test_close_leaves_a_peer_that_does_not_answer(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept()
    connection = await opening
    await connection.close(timeout=0.05)
    assert owner.reason() == "closed by us"
    await wire.eof()


async def test_close_and_abort_twice_do_nothing_more(fake: FakeBroker, owner: Owner) -> None:
    connection = await owner.open(fake.port)
    await asyncio.gather(connection.close(), connection.close())
    await connection.close()
    connection.abort(ConnectionLostError("again"))
    assert owner.reason() == "closed by us"


async def test_what_comes_while_closing_is_still_handed_over(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept()
    connection = await opening
    closing = asyncio.create_task(connection.close())
    await wire.frame()
    wire.write(b"MESSAGE\nn:1\n\n\0\nRECEIPT\nreceipt-id:disconnect\n\n\0\n")
    await closing
    assert [frame.get("n") for frame in owner.frames] == ["1", None]


async def test_abort_throws_away_what_is_queued(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept()
    connection = await opening
    connection.write(FRAME)
    connection.abort(ConnectionLostError("enough"))
    await connection.closed
    assert owner.reason() == "enough"
    with pytest.raises((EOFError, ConnectionError)):
        await wire.frame()


async def test_nothing_can_be_written_from_the_moment_of_the_abort(fake: FakeBroker, owner: Owner) -> None:
    connection = await owner.open(fake.port)
    connection.abort(ConnectionLostError("enough"))
    with pytest.raises(NotConnectedError, match="closed"):
        connection.write(FRAME)
    await connection.closed
    with pytest.raises(NotConnectedError):
        connection.write(FRAME)


async def test_a_peer_that_closes(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept()
    connection = await opening
    await wire.close()
    await connection.closed
    assert owner.reason() == "closed by the broker"


async def test_a_peer_that_resets(fake: FakeBroker, owner: Owner) -> None:
    connection = await owner.open(fake.port)
    await fake.drop_connections()
    await connection.closed
    assert "reset" in owner.reason()


async def test_bytes_that_are_not_stomp(fake: FakeBroker, owner: Owner) -> None:
    connection = await owner.open(fake.port)
    await fake.inject(b"\0\0\0\0\n\n")
    await connection.closed
    assert isinstance(owner.lost[0], RemoteProtocolError)
    assert "unknown command" in owner.reason()


async def test_an_error_frame_leaves_the_connection_up(fake: FakeBroker, owner: Owner, eventually: Eventually) -> None:
    connection = await owner.open(fake.port)
    await fake.inject(b"ERROR\nmessage:no\n\njava.lang.Exception\n\0\n")
    await eventually(lambda: owner.frames)
    assert owner.frames[0].get("message") == "no"
    connection.write(FRAME)
    await eventually(lambda: fake.messages("a"))
    await connection.close()


async def test_a_handler_that_raises_ends_the_connection_and_shows_where(
    fake: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[Exception] = []

    def handler(frame: Frame) -> None:
        raise ZeroDivisionError(frame.command)

    connection = await Connection.open(HOST, fake.port, Stomp(), handler, lost.append)
    await fake.inject(b"RECEIPT\nreceipt-id:1\n\n\0")
    await connection.closed
    assert [repr(error) for error in lost] == ["ZeroDivisionError('RECEIPT')"]
    assert "ZeroDivisionError" in caplog.text
    assert "in handler" in caplog.text  # the traceback


# -- heart-beats


async def test_silence_ends_the_connection(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port, heartbeat=0.02))
    wire = await server.accept(b"CONNECTED\nversion:1.2\nheart-beat:20,0\n\n\0")
    connection = await opening
    await asyncio.wait_for(connection.closed, 10)
    assert owner.reason() == "no sign of life for 0.02 s and more"
    await wire.eof()


async def test_beats_are_sent_and_those_that_come_keep_it_up(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port, heartbeat=0.2))
    wire = await server.accept(b"CONNECTED\nversion:1.2\nheart-beat:200,200\n\n\0")
    connection = await opening
    for _ in range(8):  # 0.1 s each: longer in all than it would bear silence
        assert await asyncio.wait_for(wire.reader.readexactly(1), 10) == b"\n"
        wire.write(b"\n")
    assert owner.lost == []
    await connection.close(timeout=0)


async def test_a_closed_connection_beats_no_more(owner: Owner) -> None:
    async with FakeBroker(heartbeat=0.02) as broker:
        connection = await owner.open(broker.port, heartbeat=0.02)
        await connection.close()
        assert connection._beat.cancelled()


# -- cancelled at each await


async def test_open_cancelled_before_the_answer(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept(connected=None)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await wire.eof()
    assert owner.lost == []


async def test_open_cancelled_in_the_turn_of_the_answer(server, owner: Owner) -> None:
    class Unlucky(Connection):
        def _greet(self, frames: list[Frame]) -> list[Frame]:
            rest = super()._greet(frames)
            opening.cancel()
            return rest

    opening = asyncio.create_task(owner.open(server.port, cls=Unlucky))
    wire = await server.accept()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await wire.eof()
    assert owner.lost == []


async def test_open_cancelled_in_its_first_turns(server, owner: Owner) -> None:
    for turns in range(8):
        opening = asyncio.create_task(owner.open(server.port))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert owner.lost == []


async def test_open_cancelled_in_the_tls_handshake(
    server, owner: Owner, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    opening = asyncio.create_task(owner.open(server.port, tls=tls_contexts[1]))
    wire = await server.accept(connected=None)
    assert await wire.reader.read(1) == b"\x16"  # a ClientHello begins
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await wire.eof()


async def test_drain_cancelled_leaves_the_connection_as_it_was(fake: FakeBroker, owner: Owner) -> None:
    connection = await owner.open(fake.port)
    fake.pause()
    await fill(connection)
    first, second = asyncio.create_task(connection.drain()), asyncio.create_task(connection.drain())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    fake.resume()
    await asyncio.wait_for(second, 10)
    connection.write(FRAME)
    await connection.close()


async def test_close_cancelled_closes_at_once(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept()
    connection = await opening
    closing = asyncio.create_task(connection.close(timeout=60))
    assert (await wire.frame()).command == "DISCONNECT"
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await wire.eof()
    await connection.closed
    assert owner.reason() == "closed by us"
