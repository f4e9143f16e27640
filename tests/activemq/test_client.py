"""A connection that is kept up: hosts, back-off, subscriptions, receipts, generations, and the end."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from activemq import client as client_module
from activemq.brokers import Profile
from activemq.client import Backoff, Client, Credentials, Server
from activemq.errors import (
    BufferFullError,
    ConnectFailedError,
    ConnectionLostError,
    NotConnectedError,
    ReceiptTimeoutError,
    ServerError,
)
from activemq.frames import Frame, Limits, encode
from activemq.testing import FakeBroker, Received

Eventually = Callable[[Callable[[], object]], Awaitable[None]]
QUICK = Backoff(0.001, 0.002)
SEND = encode("SEND", [("destination", "/queue/a"), ("receipt", "r1")], b"x")


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before == {asyncio.current_task()}


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "activemq")
    return caplog


def client_of(*brokers: FakeBroker | int, **options: object) -> Client:
    ports = [broker if isinstance(broker, int) else broker.port for broker in brokers]
    return Client([Server("127.0.0.1", port) for port in ports], **{"backoff": QUICK, "heartbeat": 0, **options})


@asynccontextmanager
async def connected(*brokers: FakeBroker | int, **options: object) -> AsyncIterator[Client]:
    async with client_of(*brokers, **options) as client:
        async with asyncio.timeout(10):
            await client.wait_connected()
        yield client


@asynccontextmanager
async def against(server) -> AsyncIterator[Client]:
    """A client of a server that a test plays itself, and that says no good-bye."""
    client = client_of(server.port)
    await client.start()
    try:
        yield client
    finally:
        await server.hang_up()
        await client.stop()


def consume(queue: str) -> Callable[[Profile], dict[str, str]]:
    return lambda profile: dict(profile.consume(queue))


def of(broker: FakeBroker, command: str) -> list[Received]:
    """What the broker was sent, without the clock's echo."""
    return [
        frame
        for frame in broker.received
        if frame.command == command and "clock" not in f"{frame.headers.get('id')}{frame.headers.get('destination')}"
    ]


async def echo(wire) -> None:
    """Answer the clock's question, for a server that a test plays itself."""
    subscribe = await wire.frame()
    send = await wire.frame()
    assert (subscribe.command, send.command) == ("SUBSCRIBE", "SEND")
    name, now = subscribe.get("id"), str(int(time.time() * 1_000))
    wire.write(encode("MESSAGE", [("subscription", name), ("timestamp", now)]))
    for frame in (subscribe, send):
        wire.write(encode("RECEIPT", [("receipt-id", frame.get("receipt"))]))
    assert (await wire.frame()).command == "UNSUBSCRIBE"


# -- addresses and back-off


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("stomp://broker:61614", "broker", 61614, False),
        ("stomp://broker", "broker", 61613, False),
        ("stomp://127.0.0.1:1/", "127.0.0.1", 1, False),
        ("stomp://[::1]:61613", "::1", 61613, False),
        ("stomp+ssl://broker:61612", "broker", 61612, True),
    ],
)
def test_an_address_is_read(url: str, host: str, port: int, tls: bool) -> None:
    server = Server.parse(url)
    assert (server.host, server.port, server.tls is not None) == (host, port, tls)
    assert str(server) == f"{host}:{port}"


@pytest.mark.parametrize(
    "url",
    [
        *("http://broker:1", "broker:61613", "stomp:broker", "stomp://", "stomp://:61613", "", "stomp://b:port"),
        *("stomp://b:65536", "stomp://b/queue", "stomp://b?x=1", "stomp://b#x", "stomp://us:secret@b", "stomp://us@b"),
        *("stomp://:secret@b", "tcp://us:secret@b", "stomp://[::1"),
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_a_passcode(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Server.parse(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("failures", "step"), [(1, 0.05), (2, 0.1), (4, 0.4), (5, 0.8), (6, 0.8), (10_000, 0.8)])
def test_back_off_doubles_up_to_its_cap_and_is_between_half_and_whole(failures: int, step: float) -> None:
    delays = {Backoff(0.05, 0.8).delay(failures) for _ in range(200)}
    assert len(delays) > 1
    assert min(delays) >= step / 2
    assert max(delays) <= step


def test_a_client_needs_a_server() -> None:
    with pytest.raises(ValueError, match="at least one server"):
        Client([])


# -- connecting


async def test_it_connects_and_says_to_whom(fake: FakeBroker, logs: pytest.LogCaptureFixture) -> None:
    client = client_of(fake)
    assert (client.connected, client.generation) == (False, 0)
    with pytest.raises(NotConnectedError):
        _ = client.profile
    async with client:
        await asyncio.wait_for(client.wait_connected(), 10)
        assert (client.connected, client.generation, client.last_error) == (True, 1, None)
        assert client.profile.kind == "classic"
        assert f"connected to 127.0.0.1:{fake.port} (ActiveMQ/6.3.1)" in logs.text
    assert not client.connected


async def test_the_next_host_is_tried_when_one_is_down(fake: FakeBroker) -> None:
    async with FakeBroker() as down:
        port = down.port
    async with connected(port, fake):
        assert fake.connections == 1


async def test_after_a_loss_the_hosts_are_tried_from_the_first(fake: FakeBroker, eventually: Eventually) -> None:
    async with FakeBroker() as first, connected(first, fake) as client:
        assert (first.connections, fake.connections) == (1, 0)
        await first.stop()
        await eventually(lambda: fake.connections and client.connected)
        await first.start()
        await fake.drop_connections()
        await eventually(lambda: first.connections and client.connected)
        assert client.generation == 3


async def test_a_host_that_hangs_is_left_for_the_next(fake: FakeBroker) -> None:
    async with FakeBroker() as hung:
        hung.pause()
        async with connected(hung, fake, connect_timeout=0.05):
            assert fake.connections == 1


class Recorder(Backoff):
    """Tells how many failures it was asked about, and never waits."""

    asked: list[int] = []  # noqa: RUF012 - each instance is given its own

    def delay(self, failures: int) -> float:
        self.asked.append(failures)
        return 0.0


@pytest.fixture
def recorder() -> Backoff:
    backoff = Recorder()
    object.__setattr__(backoff, "asked", [])
    return backoff


async def test_failures_are_counted_one_by_one(recorder: Recorder, eventually: Eventually) -> None:
    async with FakeBroker() as down:
        port = down.port
    async with client_of(port, port, backoff=recorder):
        await eventually(lambda: len(recorder.asked) >= 4)
    assert recorder.asked[:4] == [1, 2, 3, 4]


async def test_a_connection_that_dies_young_is_a_failure(
    fake: FakeBroker, recorder: Recorder, eventually: Eventually
) -> None:
    async with connected(fake, backoff=recorder) as client:
        for generation in (2, 3, 4):
            await fake.drop_connections()
            await eventually(lambda wanted=generation: client.generation == wanted and client.connected)
    assert recorder.asked == [1, 2, 3]


async def test_a_connection_that_has_lived_ends_the_count(
    fake: FakeBroker, recorder: Recorder, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "STABLE_AFTER", -1.0)
    async with connected(fake, backoff=recorder) as client:
        await fake.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
    assert recorder.asked == []


async def test_the_time_that_failing_takes_is_no_time_that_it_lived(
    fake: FakeBroker, recorder: Recorder, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "STABLE_AFTER", 0.04)
    async with connected(fake, backoff=recorder, connect_timeout=0.05):
        fake.pause()
        await fake.drop_connections()
        await eventually(lambda: len(recorder.asked) >= 3)
        fake.resume()
    assert recorder.asked[:3] == [1, 2, 3]


async def test_each_reason_is_logged_once(logs: pytest.LogCaptureFixture, recorder: Recorder, eventually) -> None:
    async with FakeBroker() as one, FakeBroker() as other:
        ports = one.port, other.port
    async with client_of(*ports, backoff=recorder) as client:
        await eventually(lambda: len(recorder.asked) >= 5)
        assert isinstance(client.last_error, ConnectFailedError)
    warnings = [record.message for record in logs.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert all(str(port) in warning for port, warning in zip(ports, warnings, strict=True))


async def test_a_wrong_login_is_told_in_last_error_and_shows_no_passcode(
    logs: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    async with FakeBroker("us", "right") as broker:
        client = client_of(broker, credentials=Credentials("us", "wrong-secret"))
        async with client:
            await eventually(lambda: client.last_error)
            assert isinstance(client.last_error, ConnectFailedError)
            assert "password is invalid" in str(client.last_error)
            assert not client.connected
    assert "password is invalid" in logs.text
    assert "wrong-secret" not in logs.text + repr(client) + repr(client.last_error)


async def test_a_broker_without_a_profile_is_told_and_left(
    logs: pytest.LogCaptureFixture, eventually: Eventually, recorder: Recorder
) -> None:
    async with FakeBroker(server="RabbitMQ/4.3.5") as broker, client_of(broker, backoff=recorder) as client:
        await eventually(lambda: len(recorder.asked) >= 2)
        assert "no profile for RabbitMQ/4.3.5" in str(client.last_error)
        assert not client.connected
    assert logs.text.count("no profile for RabbitMQ/4.3.5") == 1


async def test_the_kind_can_be_set(eventually: Eventually) -> None:
    async with FakeBroker(server="SomeShop/1") as broker, connected(broker, kind="classic") as client:
        assert client.profile.kind == "classic"


async def test_a_hung_broker_is_noticed_by_its_silence(eventually: Eventually) -> None:
    async with FakeBroker(heartbeat=0.1) as broker, connected(broker, heartbeat=0.1, connect_timeout=0.2) as client:
        broker.pause()
        await eventually(lambda: not client.connected)
        assert "no sign of life" in str(client.last_error) or "did not answer" in str(client.last_error)
        broker.resume()
        await eventually(lambda: client.connected)


async def test_bytes_that_are_not_stomp_cost_one_connection(fake: FakeBroker, eventually: Eventually) -> None:
    async with connected(fake) as client:
        await fake.inject(b"\0garbage\n\n")
        await eventually(lambda: client.generation == 2 and client.connected)


# -- subscriptions


async def test_a_subscription_gets_its_messages(fake: FakeBroker) -> None:
    received: asyncio.Queue[Frame] = asyncio.Queue()
    async with connected(fake) as client:
        client.subscribe(consume("a"), received.put_nowait)
        client.send(SEND)
        assert (await asyncio.wait_for(received.get(), 10)).body == b"x"


async def test_a_subscription_is_renewed_on_each_connection(fake: FakeBroker, eventually: Eventually) -> None:
    async with client_of(fake) as client:
        one = client.subscribe(consume("a"), lambda _: None)  # before the first
        await asyncio.wait_for(client.wait_connected(), 10)
        two = client.subscribe(consume("b"), lambda _: None, name="two")  # after it
        await eventually(lambda: len(of(fake, "SUBSCRIBE")) == 2)
        await fake.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
        asked = [(frame.connection, frame.headers["id"]) for frame in of(fake, "SUBSCRIBE")]
    assert sorted(asked[:2]) == [(1, one.id), (1, "two")]
    assert sorted(asked[2:]) == [(2, one.id), (2, "two")]
    assert (one.error, two.error, two.id) == (None, None, "two")


async def test_connected_means_that_all_subscriptions_are_in_place(server) -> None:
    async with against(server) as client:
        client.subscribe(consume("a"), lambda _: None)
        wire = await server.accept()
        await echo(wire)
        subscribe = await wire.frame()
        assert (subscribe.command, client.connected) == ("SUBSCRIBE", False)
        wire.write(encode("RECEIPT", [("receipt-id", subscribe.get("receipt"))]))
        await asyncio.wait_for(client.wait_connected(), 10)


async def test_a_subscription_made_while_others_are_renewed_is_not_lost(server) -> None:
    async with against(server) as client:
        client.subscribe(consume("a"), lambda _: None)
        wire = await server.accept()
        await echo(wire)
        first = await wire.frame()
        client.subscribe(consume("b"), lambda _: None)
        second = await wire.frame()
        assert (second.command, second.get("destination")) == ("SUBSCRIBE", "/queue/b")
        wire.write(encode("RECEIPT", [("receipt-id", first.get("receipt"))]))
        await asyncio.wait_for(client.wait_connected(), 10)


async def test_a_subscription_made_while_the_clock_is_measured_is_asked_for_once(server) -> None:
    async with against(server) as client:
        wire = await server.accept()
        echoing = asyncio.create_task(echo(wire))
        client.subscribe(consume("a"), lambda _: None)
        await echoing
        assert (await wire.frame()).get("destination") == "/queue/a"
        client.subscribe(consume("b"), lambda _: None)
        assert (await wire.frame()).get("destination") == "/queue/b"


async def test_subscriptions_that_are_never_confirmed_are_a_failure(
    server, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(client_module, "SUBSCRIBE_TIMEOUT", 0.05)
    async with against(server) as client:
        client.subscribe(consume("a"), lambda _: None)
        wire = await server.accept()
        await echo(wire)
        await wire.eof()
        await eventually(lambda: "not confirmed within 0.05 s" in str(client.last_error))


async def test_an_ended_subscription_is_ended_at_the_broker_and_not_renewed(
    fake: FakeBroker, eventually: Eventually
) -> None:
    async with connected(fake) as client:
        subscription = client.subscribe(consume("a"), lambda _: None)
        client.unsubscribe(subscription)
        client.unsubscribe(subscription)
        await eventually(lambda: of(fake, "UNSUBSCRIBE"))
        await fake.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
        assert [frame.headers["id"] for frame in of(fake, "UNSUBSCRIBE")] == [subscription.id]
        assert len(of(fake, "SUBSCRIBE")) == 1


async def test_messages_of_an_ended_subscription_are_dropped(fake: FakeBroker, eventually: Eventually) -> None:
    got: list[Frame] = []
    async with connected(fake) as client:
        subscription = client.subscribe(consume("a"), got.append)
        client.unsubscribe(subscription)
        await fake.inject(encode("MESSAGE", [("subscription", subscription.id)]))
        await fake.inject(encode("MESSAGE", [("subscription", "never-was")]))
        await fake.inject(encode("MESSAGE", []))
        await client.request_receipt(SEND, "r1", timeout=10)
    assert got == []


async def test_a_subscription_ended_before_it_was_asked_for_is_never_sent(fake: FakeBroker) -> None:
    async with client_of(fake) as client:
        client.unsubscribe(client.subscribe(consume("a"), lambda _: None))
        await asyncio.wait_for(client.wait_connected(), 10)
        await client.request_receipt(SEND, "r1", timeout=10)
    assert of(fake, "SUBSCRIBE") == of(fake, "UNSUBSCRIBE") == []


async def test_a_refused_subscription_says_why_and_hinders_no_other(
    fake: FakeBroker, logs: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    fake.refuse("/queue/secret", "not authorized")
    async with client_of(fake) as client:
        refused = client.subscribe(consume("secret"), lambda _: None)
        taken = client.subscribe(consume("a"), lambda _: None)
        await asyncio.wait_for(client.wait_connected(), 10)
        assert (refused.error.message, taken.error) == ("not authorized", None)
        assert "the broker refused the subscription to /queue/secret: not authorized" in logs.text
        late = client.subscribe(consume("secret"), lambda _: None)
        await eventually(lambda: late.error)
        client.unsubscribe(late)
        fake.allow("/queue/secret")
        await fake.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
        assert refused.error is None
    assert of(fake, "UNSUBSCRIBE") == []  # the broker never had it


async def test_a_handler_that_raises_costs_the_connection_and_no_more(fake: FakeBroker, eventually: Eventually) -> None:
    seen: list[str | None] = []

    def handler(frame: Frame) -> None:
        seen.append(frame.get("redelivered"))
        if len(seen) == 1:
            raise ZeroDivisionError

    async with connected(fake) as client:
        client.subscribe(consume("a"), handler)
        client.send(SEND)
        await eventually(lambda: len(seen) == 2)
        assert seen == [None, "true"]
        await eventually(lambda: client.connected)


async def test_headers_that_cannot_be_made_are_told_and_do_not_end_the_attempts(
    fake: FakeBroker, logs: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    attempts: list[Profile] = []

    def headers(profile: Profile) -> dict[str, str]:
        attempts.append(profile)
        if len(attempts) < 3:
            raise KeyError("no such queue")
        return dict(profile.consume("a"))

    async with client_of(fake) as client:
        client.subscribe(headers, lambda _: None)
        await asyncio.wait_for(client.wait_connected(), 10)
    assert len(attempts) == 3
    assert "no such queue" in logs.text
    assert "Traceback" in logs.text


async def test_an_oversize_message_is_handed_over_without_its_body(fake: FakeBroker) -> None:
    received: asyncio.Queue[Frame] = asyncio.Queue()
    async with connected(fake, limits=Limits(max_body=10)) as client:
        client.subscribe(consume("a"), received.put_nowait)
        client.send(encode("SEND", [("destination", "/queue/a")], b"x" * 11))
        frame = await asyncio.wait_for(received.get(), 10)
        assert (frame.oversize, frame.body, client.generation) == (11, b"", 1)


# -- receipts


class Answers:
    """What came for receipts, in order."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Exception | None]] = []

    def __call__(self, receipt: str, error: Exception | None) -> None:
        self.got.append((receipt, error))


@pytest.fixture
def answers() -> Answers:
    return Answers()


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


# -- acknowledging


async def test_a_message_of_this_connection_is_acknowledged(fake: FakeBroker, eventually: Eventually) -> None:
    received: asyncio.Queue[Frame] = asyncio.Queue()
    async with connected(fake) as client:
        client.subscribe(consume("a"), received.put_nowait)
        client.send(SEND)
        assert client.ack(await asyncio.wait_for(received.get(), 10), client.generation)
        await eventually(lambda: of(fake, "ACK"))
        assert fake.unacknowledged("a") == []


async def test_a_message_of_an_earlier_connection_is_not(fake: FakeBroker, eventually: Eventually) -> None:
    received: asyncio.Queue[Frame] = asyncio.Queue()
    async with connected(fake) as client:
        client.subscribe(consume("a"), received.put_nowait)
        client.send(SEND)
        old = await asyncio.wait_for(received.get(), 10)
        await fake.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
        assert not client.ack(old, 1)
        assert client.ack(await asyncio.wait_for(received.get(), 10), 2)
        await client.request_receipt(encode("SEND", [("destination", "b"), ("receipt", "r2")]), "r2", timeout=10)
    assert len(of(fake, "ACK")) == 1


async def test_stomp_1_1_acknowledges_by_message_id(server) -> None:
    async with against(server) as client:
        wire = await server.accept(b"CONNECTED\nversion:1.1\nserver:ActiveMQ/6.3.1\n\n\0")
        await echo(wire)
        await asyncio.wait_for(client.wait_connected(), 10)
        head = "\nsubscription:s\\c1\nmessage-id:ID\\c7"
        assert client.ack(Frame("MESSAGE", head, version="1.1"), 1)
        assert (await wire.frame()).headers == {"subscription": "s:1", "message-id": "ID:7"}


async def test_stomp_1_2_acknowledges_by_the_ack_header_as_it_stood(server) -> None:
    async with against(server) as client:
        wire = await server.accept()
        await echo(wire)
        await asyncio.wait_for(client.wait_connected(), 10)
        assert client.ack(Frame("MESSAGE", "\nack:ID\\c7\\\\"), 1)
        assert (await wire.frame()).headers == {"id": "ID:7\\"}


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


# -- ERROR frames that answer nothing


@pytest.mark.parametrize("receipt", [b"", b"receipt-id:never-was\n"])
async def test_an_error_that_answers_nothing_is_logged_and_kept(
    fake: FakeBroker, logs: pytest.LogCaptureFixture, eventually: Eventually, receipt: bytes
) -> None:
    async with connected(fake) as client:
        await fake.inject(b"ERROR\nmessage:out of space\n" + receipt + b"\njava.lang.Exception\n\tat secret.Place\0")
        await eventually(lambda: client.last_error)
        assert isinstance(client.last_error, ServerError)
        assert (client.connected, client.generation) == (True, 1)
    assert "the broker refused: out of space" in logs.text
    assert "secret.Place" not in logs.text


async def test_an_error_without_a_reason(fake: FakeBroker, eventually: Eventually) -> None:
    async with connected(fake) as client:
        await fake.inject(b"ERROR\n\n\0")
        await eventually(lambda: client.last_error)
        assert str(client.last_error) == "the broker refused: no reason given"


async def test_an_undefined_escape_in_a_header_that_is_read_costs_one_connection(
    fake: FakeBroker, eventually: Eventually
) -> None:
    lost: list[Exception] = []
    async with connected(fake) as client:
        client.listen(lambda: None, lost.append)
        await fake.inject(b"RECEIPT\nreceipt-id:\\q\n\n\0")
        await eventually(lambda: client.generation == 2 and client.connected)
    assert "undefined escape" in str(lost[0])


# -- who wants to know


async def test_listeners_are_told_of_each_connection_and_each_loss(fake: FakeBroker, eventually: Eventually) -> None:
    told: list[object] = []
    client = client_of(fake)
    client.listen(lambda: told.append("connected"), told.append)
    async with client:
        await eventually(lambda: told == ["connected"])
        await fake.drop_connections()
        await eventually(lambda: len(told) == 3)
    assert told[::2] == ["connected", "connected"]
    assert [type(error) for error in told[1::2]] == [ConnectionLostError, ConnectionLostError]


async def test_a_listener_that_raises_keeps_nobody_from_being_told(
    fake: FakeBroker, logs: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    told: list[str] = []

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    client = client_of(fake)
    client.listen(broken, broken)
    client.listen(lambda: told.append("connected"), lambda _: told.append("lost"))
    async with client:
        await eventually(lambda: client.connected)
        await fake.drop_connections()
        await eventually(lambda: told == ["connected", "lost", "connected"])
    assert "a listener of the broker connection failed" in logs.text


# -- the end


async def test_stop_says_good_bye_and_stays_away(fake: FakeBroker, logs: pytest.LogCaptureFixture) -> None:
    async with connected(fake) as client:
        pass
    assert fake.received[-1].command == "DISCONNECT"
    assert (fake.connections, client.connected, client.generation) == (0, False, 1)
    assert "lost the broker" not in logs.text
    with pytest.raises(NotConnectedError):
        client.send(SEND)


async def test_stop_tells_those_who_wait(fake: FakeBroker, answers: Answers) -> None:
    async with connected(fake) as client:
        fake.pause()
        client.publish(SEND, "r1", answers)
        stopping = asyncio.create_task(client.stop())
        await asyncio.sleep(0)
        await fake.drop_connections()
        await stopping
    ((_, error),) = answers.got
    assert isinstance(error, ConnectionLostError)


async def test_start_and_stop_may_be_said_twice_and_again(fake: FakeBroker) -> None:
    client = client_of(fake)
    await client.stop()
    for generation in (1, 2):
        await client.start()
        await client.start()
        await asyncio.wait_for(client.wait_connected(), 10)
        assert (client.generation, fake.connections) == (generation, 1)
        await client.stop()
        await client.stop()


@pytest.fixture(params=range(5), ids=["TCP", "CONNECT", "echo", "subscriptions", "back-off"])
async def stage(request: pytest.FixtureRequest, server) -> AsyncIterator[Client]:
    """A client that has come so far and no farther."""
    far: int = request.param
    client = client_of(server.port, backoff=Backoff(60, 60))
    client.subscribe(consume("a"), lambda _: None)
    await client.start()
    if far == 1:
        await (await server.accept(connected=None)).frame()
    elif far == 2:
        await (await server.accept()).frame()
    elif far == 3:
        wire = await server.accept()
        await echo(wire)
        await wire.frame()
    elif far == 4:
        wire = await server.accept(b"ERROR\nmessage:go away\n\n\0")
        await wire.eof()
    yield client
    await client.stop()


async def test_stop_while_connecting(stage: Client, no_task_is_left) -> None:
    async with asyncio.timeout(10):
        await stage.stop()
    assert (stage.connected, stage._connection, stage._receipts) == (False, None, {})


async def test_stop_cancelled_is_cancelled(server) -> None:
    client = client_of(server.port)
    await client.start()
    wire = await server.accept()
    await echo(wire)
    await asyncio.wait_for(client.wait_connected(), 10)
    stopping = asyncio.create_task(client.stop())
    assert (await wire.frame()).command == "DISCONNECT"
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await wire.eof()


async def test_stop_cancelled_while_connecting_is_cancelled(server) -> None:
    client = client_of(server.port)
    await client.start()
    wire = await server.accept(connected=None)
    stopping = asyncio.create_task(client.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await wire.eof()


async def test_wait_connected_cancelled_harms_nobody(fake: FakeBroker) -> None:
    fake.pause()
    async with client_of(fake) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.wait_connected()
        fake.resume()
        await asyncio.wait_for(client.wait_connected(), 10)
