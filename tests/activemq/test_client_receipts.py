"""What is sent and confirmed, refused or lost, and the clock that an echo measures."""

import asyncio

import pytest

from activemq import client as client_module
from activemq.errors import (
    BufferFullError,
    ConnectionLostError,
    NotConnectedError,
    ReceiptTimeoutError,
    ServerError,
)
from activemq.frames import Frame, encode
from activemq.testing import FakeBroker
from tests.activemq.harness import SEND, Answers, Eventually, against, client_of, connected, consume

pytestmark = pytest.mark.usefixtures("no_task_is_left", "logs")


# -- receipts


async def test_a_receipt_is_told_once(fake: FakeBroker, answers: Answers, eventually: Eventually) -> None:
    async with connected(fake) as client:
        client.publish(SEND, "r1", answers)
        await eventually(lambda: answers.got)
        await fake.inject(b"RECEIPT\nreceipt-id:r1\n\n\0RECEIPT\nreceipt-id:never-was\n\n\0RECEIPT\n\n\0")
        await client.request_receipt(SEND, "r1", timeout=10)
    assert answers.got == [("r1", None)]


async def test_a_refusal_is_told(fake: FakeBroker, answers: Answers, eventually: Eventually) -> None:
    fake.refuse("/queue/a", "no: never")
    async with connected(fake) as client:
        client.publish(SEND, "r1", answers)
        await eventually(lambda: answers.got)
        ((receipt, error),) = answers.got
        assert receipt == "r1"
        assert isinstance(error, ServerError)
        assert (error.message, error.receipt_id, client.connected) == ("no: never", "r1", True)


async def test_a_lost_connection_is_told_to_all_who_wait(
    fake: FakeBroker, answers: Answers, logs: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    def broken(receipt: str, error: Exception | None) -> None:
        raise ZeroDivisionError(receipt)

    async with connected(fake) as client:
        fake.pause()
        for receipt, callback in (("1", answers), ("2", broken), ("3", answers)):
            client.publish(SEND, receipt, callback)
        await fake.drop_connections()
        fake.resume()
        await eventually(lambda: client.generation == 2)
        assert [receipt for receipt, _ in answers.got] == ["1", "3"]
        assert all(isinstance(error, ConnectionLostError) for _, error in answers.got)
    assert "ZeroDivisionError: 2" in logs.text


async def test_a_forgotten_receipt_is_told_to_nobody(fake: FakeBroker, answers: Answers) -> None:
    async with connected(fake) as client:
        client.publish(SEND, "r1", answers)
        client.forget_receipt("r1")
        client.forget_receipt("never-was")
        await client.request_receipt(encode("SEND", [("destination", "b"), ("receipt", "r2")]), "r2", timeout=10)
    assert answers.got == []


async def test_request_receipt_returns_when_confirmed(fake: FakeBroker) -> None:
    async with connected(fake) as client:
        await client.request_receipt(SEND, "r1", timeout=10)
        assert len(fake.messages("a")) == 1


async def test_request_receipt_raises_the_refusal(fake: FakeBroker) -> None:
    fake.refuse("/queue/a", "no")
    async with connected(fake) as client:
        with pytest.raises(ServerError, match="the broker refused: no"):
            await client.request_receipt(SEND, "r1", timeout=10)


async def test_request_receipt_raises_a_loss(fake: FakeBroker) -> None:
    async with connected(fake) as client:
        fake.pause()
        asking = asyncio.create_task(client.request_receipt(SEND, "r1", timeout=10))
        await asyncio.sleep(0)
        await fake.drop_connections()
        fake.resume()
        with pytest.raises(ConnectionLostError):
            await asking


async def test_request_receipt_gives_up_in_time_and_a_late_receipt_is_nothing(
    fake: FakeBroker, eventually: Eventually
) -> None:
    async with connected(fake) as client:
        fake.pause()
        with pytest.raises(ReceiptTimeoutError, match=r"did not confirm within 0\.05 s"):
            await client.request_receipt(SEND, "r1", timeout=0.05)
        fake.resume()
        await eventually(lambda: fake.messages("a"))
        await client.request_receipt(encode("SEND", [("destination", "b"), ("receipt", "r2")]), "r2", timeout=10)
        assert client._receipts == {}


async def test_request_receipt_cancelled_leaves_nothing_behind(fake: FakeBroker) -> None:
    async with connected(fake) as client:
        fake.pause()
        asking = asyncio.create_task(client.request_receipt(SEND, "r1", timeout=10))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert client._receipts == {}
        fake.resume()


async def test_without_a_connection_nothing_is_sent_or_awaited(fake: FakeBroker, answers: Answers) -> None:
    client = client_of(fake)
    with pytest.raises(NotConnectedError):
        client.publish(SEND, "r1", answers)
    with pytest.raises(NotConnectedError):
        client.send(SEND)
    with pytest.raises(NotConnectedError):
        await client.request_receipt(SEND, "r1", timeout=1)
    assert client._receipts == {}
    assert answers.got == []


async def test_a_closing_connection_is_none(fake: FakeBroker, answers: Answers) -> None:
    async with connected(fake) as client:
        client._connection.abort(ConnectionLostError("just now"))
        with pytest.raises(NotConnectedError):
            client.publish(SEND, "r1", answers)
        with pytest.raises(NotConnectedError):
            client.send(SEND)
        subscription = client.subscribe(consume("a"), lambda _: None)
        client.unsubscribe(subscription)
        assert not client.ack(Frame.of("MESSAGE", {"ack": "1"}), client.generation)
    assert answers.got == []


async def test_a_full_buffer_is_told_and_leaves_no_receipt(fake: FakeBroker, answers: Answers) -> None:
    async with connected(fake) as client:
        client._connection._max_buffered = len(SEND)
        client.publish(SEND, "r1", answers)
        with pytest.raises(BufferFullError):
            client.publish(SEND, "r2", answers)
        assert list(client._receipts) == ["r1"]


# -- the broker's clock


@pytest.mark.parametrize("ahead", [0, 3_600, -3_600])
async def test_the_brokers_clock_is_measured_at_each_connection(ahead: int, eventually: Eventually) -> None:
    async with FakeBroker(clock_offset=ahead) as broker, connected(broker) as client:
        assert client.clock.measured
        assert abs(client.clock.offset_ms - ahead * 1_000) <= client.clock.error_ms + 1  # stamps are whole ms
        client.clock.offset_ms = 5e9
        await broker.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
        assert abs(client.clock.offset_ms - ahead * 1_000) <= client.clock.error_ms + 1


async def test_the_echo_leaves_nothing_behind(fake: FakeBroker) -> None:
    async with connected(fake) as client:
        await client.request_receipt(SEND, "r1", timeout=10)
        assert client._receipts == {}
        assert client._subscriptions == {}
    assert [frame.command for frame in fake.received if "clock" in str(frame.headers)] == [
        "SUBSCRIBE",
        "SEND",
        "UNSUBSCRIBE",
    ]


async def test_a_refused_echo_costs_only_the_measurement(fake: FakeBroker, logs: pytest.LogCaptureFixture) -> None:
    fake.refuse("/temp-queue/clock", "no temporary queues")
    async with connected(fake) as client:
        await client.request_receipt(SEND, "r1", timeout=10)
        assert not client.clock.measured
        assert client.generation == 1
        assert "could not measure the broker's clock (the broker refused: no temporary queues)" in logs.text
    assert "UNSUBSCRIBE" not in [frame.command for frame in fake.received]


@pytest.mark.parametrize(
    "message", [None, b"MESSAGE\nsubscription:%b\n\n\0", b"MESSAGE\nsubscription:%b\ntimestamp:x\n\n\0"]
)
async def test_without_an_echo_or_a_stamp_ours_is_taken_for_the_brokers(
    server, monkeypatch: pytest.MonkeyPatch, message: bytes | None
) -> None:
    monkeypatch.setattr(client_module, "ECHO_TIMEOUT", 10.0 if message else 0.05)
    async with against(server) as client:
        wire = await server.accept()
        subscribe = await wire.frame()
        if message:
            wire.write(message % subscribe.get("id").encode())
        await asyncio.wait_for(client.wait_connected(), 10)
        assert (client.clock.measured, client.clock.offset_ms) == (False, 0.0)
