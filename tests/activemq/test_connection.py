"""One socket: opening it, TLS, writing and watermarks."""

import asyncio
import socket
import ssl

import pytest
import uvloop

from activemq.connection import HIGH_WATER
from activemq.errors import (
    BufferFullError,
    ConnectFailedError,
    ConnectionLostError,
)
from activemq.frames import encode
from activemq.protocol import Credentials, State
from activemq.testing import FakeBroker
from tests.activemq.harness import BIG, FRAME, HOST, Eventually, Owner, fill

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


def test_on_uvloop_whose_transports_are_none_of_asyncios_classes() -> None:
    async def exchange() -> None:
        owner = Owner()
        async with FakeBroker() as broker:
            connection = await owner.open(broker.port)
            assert not isinstance(connection._transport, asyncio.Transport)
            connection.write(encode("SUBSCRIBE", [("id", "1"), ("destination", "/queue/q")]))
            connection.write(encode("SEND", [("destination", "/queue/q"), ("content-length", str(len(BIG)))], BIG))
            async with asyncio.timeout(10):
                while not owner.frames:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
            assert [frame.body for frame in owner.frames] == [BIG]
            await connection.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(exchange())


def test_on_uvloop_what_is_written_as_the_connection_closes_is_dropped_without_a_word() -> None:
    said: list[str] = []

    async def exchange() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
        owner = Owner()
        async with FakeBroker() as broker:
            connection = await owner.open(broker.port)
            connection._transport.close()  # as it does itself when the broker has closed
            connection.write(FRAME)
            await connection.closed
            await asyncio.sleep(0)  # for what was to leave in this turn of the loop
        assert owner.reason() == "closed by the broker"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(exchange())
    assert said == []


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


async def test_a_refused_login_says_where_it_is_set(server, owner: Owner) -> None:
    owner.credentials = Credentials("x", "y", where="--login")
    opening = asyncio.create_task(owner.open(server.port))
    wire = await server.accept(b"ERROR\nmessage:no.\n\n\0")
    with pytest.raises(ConnectFailedError, match=r"refused the connection: no\. Is the login right\? See --login$"):
        await opening
    await wire.eof()


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
