"""One socket: opening and closing, writing, watermarks, heart-beats, TLS, and cancellation at each await."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest

from activemq.connection import HIGH_WATER, Connection
from activemq.errors import (
    BufferFullError,
    ConnectFailedError,
    ConnectionLostError,
    NotConnectedError,
    RemoteProtocolError,
)
from activemq.frames import Frame, encode
from activemq.protocol import Credentials, State, Stomp
from activemq.testing import FakeBroker

HOST = "127.0.0.1"
FRAME = encode("SEND", [("destination", "/queue/a")], b"x")
BIG = encode("SEND", [("destination", "/queue/a")], b"x" * 1_000_000)


class Owner:
    """Who has a connection: keeps what it is told."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.lost: list[Exception] = []

    async def open(
        self, port: int, *, heartbeat: float = 0.0, cls: type[Connection] = Connection, **options: object
    ) -> Connection:
        stomp = Stomp(Credentials(), heartbeat)
        return await cls.open(HOST, port, stomp, self.frames.append, self.lost.append, **options)

    def reason(self) -> str:
        (error,) = self.lost  # once, and only once
        return str(error)


@pytest.fixture
def owner() -> Owner:
    return Owner()


async def fill(connection: Connection) -> None:
    """Write until more than the high watermark waits for a peer that does not read."""
    while connection.unsent <= HIGH_WATER:
        connection.write(BIG)
        await asyncio.sleep(0)


Eventually = Callable[[Callable[[], object]], Awaitable[None]]


# -- opening


async def test_open_returns_once_the_broker_has_said_connected(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept(connected=None)
    assert (await wire.frame()).command == "CONNECT"
    assert not opening.done()
    wire.write(b"CONNECTED\nversion:1.2\nserver:Some/1\n\n\0\n")
    connection = await opening
    assert (connection.stomp.state, connection.stomp.server) == (State.CONNECTED, "Some/1")
    connection.abort(ConnectionLostError("over"))


async def test_small_frames_do_not_wait_for_each_other(fake: FakeBroker, owner: Owner) -> None:
    connection = await owner.open(fake.port)
    sock = connection._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await connection.close()


async def test_what_comes_with_connected_is_handed_over(server, owner: Owner, eventually: Eventually) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept(b"CONNECTED\nversion:1.2\n\n\0MESSAGE\nn:1\n\n\0")
    connection = await opening
    wire.write(b"MESSAGE\nn:2\n\n\0")
    await eventually(lambda: len(owner.frames) == 2)
    assert [frame.get("n") for frame in owner.frames] == ["1", "2"]
    connection.abort(ConnectionLostError("over"))


async def test_a_port_where_nobody_listens(owner: Owner) -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectFailedError, match=rf"^{HOST}:{port}: .*(refused|Connect call failed)"):
            await owner.open(port)
    assert owner.lost == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"ERROR\nmessage:User name [x] or password is invalid.\n\n\0", "refused the connection: User name"),
        (b"ERROR\n\n\0", "refused the connection: no reason given"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "unknown command 'HTTP/1.1 400"),
        (b"RECEIPT\nreceipt-id:1\n\n\0", "RECEIPT before CONNECTED"),
        (b"CONNECTED\nversion:1.0\n\n\0", "STOMP '1.0', which was not offered"),
    ],
)
async def test_an_answer_that_is_no_welcome(server, owner: Owner, answer: bytes, reason: str) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept(answer)
    with pytest.raises(ConnectFailedError, match=f"^{HOST}:{server.port}: ") as failed:
        await opening
    assert reason in str(failed.value)
    await wire.eof()
    assert owner.lost == []


async def test_a_peer_that_closes_before_connected(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port))
    await (await server.accept(connected=None)).close()
    with pytest.raises(ConnectFailedError, match=r"closed by the broker|reset"):
        await opening
    assert owner.lost == []


async def test_a_peer_that_never_answers_connect(server, owner: Owner) -> None:
    opening = asyncio.create_task(owner.open(server.port, timeout=0.05))
    wire = await server.accept(connected=None)
    with pytest.raises(ConnectFailedError, match=r"did not answer CONNECT within 0\.05 s"):
        await opening
    await wire.eof()
    assert owner.lost == []


# -- TLS


async def test_tls(owner: Owner, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext], eventually: Eventually) -> None:
    async with FakeBroker(tls=tls_contexts[0]) as broker:
        connection = await owner.open(broker.port, tls=tls_contexts[1])
        connection.write(encode("SEND", [("destination", "/queue/a")], b"x" * 300_000))
        await eventually(lambda: broker.messages("a"))
        await connection.close()
    assert owner.reason() == "closed by us"


async def test_a_certificate_that_is_not_trusted(
    owner: Owner, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    async with FakeBroker(tls=tls_contexts[0]) as broker:
        with pytest.raises(ConnectFailedError, match=r"(?i)certificate verify failed"):
            await owner.open(broker.port, tls=ssl.create_default_context())
        assert broker.connections == 0


async def test_tls_against_a_plain_port(
    fake: FakeBroker, owner: Owner, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    with pytest.raises(ConnectFailedError):
        await owner.open(fake.port, tls=tls_contexts[1], timeout=1.0)


# -- writing


async def test_all_frames_of_one_turn_leave_in_one_write(
    fake: FakeBroker, owner: Owner, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    connection = await owner.open(fake.port)
    writes: list[bytes] = []
    write = connection._transport.write
    monkeypatch.setattr(connection._transport, "write", lambda data: (writes.append(data), write(data)))
    for _ in range(3):
        connection.write(FRAME)
    assert writes == []
    await asyncio.sleep(0)
    connection.write(FRAME)
    await asyncio.sleep(0)
    assert writes == [FRAME * 3, FRAME]
    await eventually(lambda: len(fake.messages("a")) == 4)
    await connection.close()


@pytest.mark.parametrize(("over", "ok"), [(-1, True), (0, True), (1, False)])
async def test_a_turn_may_queue_as_much_as_the_limit(fake: FakeBroker, owner: Owner, over: int, ok: bool) -> None:
    connection = await owner.open(fake.port, max_buffered=1_000)
    connection.write(FRAME)
    rest = b"\n" * (1_000 - len(FRAME) + over)
    if ok:
        connection.write(rest)
    else:
        with pytest.raises(BufferFullError, match="1000 bytes wait"):
            connection.write(rest)
        connection.write(rest[1:])  # nothing had been queued
    await connection.close()


async def test_what_the_peer_does_not_read_counts_too(fake: FakeBroker, owner: Owner, eventually: Eventually) -> None:
    connection = await owner.open(fake.port, max_buffered=20_000_000)
    fake.pause()
    sent = 0

    async def send_for_ever() -> None:  # into the kernel's buffers first
        nonlocal sent
        while True:
            connection.write(BIG)
            sent += 1
            await asyncio.sleep(0)

    with pytest.raises(BufferFullError):
        await asyncio.wait_for(send_for_ever(), 10)
    assert connection.unsent <= 20_000_000
    fake.resume()
    await eventually(lambda: len(fake.messages("a")) == sent)
    connection.write(FRAME)
    await connection.close()


async def test_drain_waits_above_the_high_watermark_until_the_peer_reads(fake: FakeBroker, owner: Owner) -> None:
    connection = await owner.open(fake.port)
    await connection.drain()
    fake.pause()
    await fill(connection)
    draining = asyncio.create_task(connection.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    fake.resume()
    await asyncio.wait_for(draining, 10)
    assert connection.unsent <= HIGH_WATER
    await connection.close()


async def test_drain_raises_what_ended_the_connection(fake: FakeBroker, owner: Owner) -> None:
    connection = await owner.open(fake.port)
    fake.pause()
    await fill(connection)
    draining = asyncio.create_task(connection.drain())
    await asyncio.sleep(0)
    connection.abort(ConnectionLostError("so it ends"))
    with pytest.raises(ConnectionLostError, match="so it ends"):
        await asyncio.wait_for(draining, 10)


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
