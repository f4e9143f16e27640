"""Subscriptions that are renewed, messages and their acknowledgement, and ERROR frames that answer nothing."""

import asyncio

import pytest

from activemq import subscriptions
from activemq.brokers import Profile
from activemq.errors import (
    BufferFullError,
    ServerError,
)
from activemq.frames import Frame, Limits, encode
from activemq.testing import FakeBroker
from tests.activemq.harness import SEND, Eventually, against, client_of, connected, consume, echo, of

pytestmark = pytest.mark.usefixtures("no_task_is_left", "logs")


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
    assert sorted(asked[:2]) == sorted([(1, one.id), (1, two.id)])
    assert sorted(asked[2:]) == sorted([(2, one.id), (2, two.id)])
    assert (one.error, two.error) == (None, None)


async def test_a_subscriptions_id_cannot_be_guessed(fake: FakeBroker) -> None:
    """What a hostile sender hides behind the NUL of a text may look like a frame for one of ours."""
    one, other = client_of(fake), client_of(fake)
    names = [client.subscribe(consume("a"), lambda _: None, name="replies").id for client in (one, other)]
    assert all(name.startswith("replies-") for name in names)
    assert names[0] != names[1]


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
    monkeypatch.setattr(subscriptions, "SUBSCRIBE_TIMEOUT", 0.05)
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


async def test_a_full_buffer_leaves_a_subscription_as_it_was_and_its_renewal_to_be_tried_again(
    fake: FakeBroker, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(fake) as client:
        subscription = client.subscribe(consume("a"), lambda _: None)
        connection = client._connection
        assert connection is not None
        write, full = connection.write, [True, False, True, False]

        def refusing(data: bytes) -> None:
            if full.pop(0):
                raise BufferFullError("full")
            write(data)

        monkeypatch.setattr(connection, "write", refusing)
        for at in ("UNSUBSCRIBE", "SUBSCRIBE"):
            with pytest.raises(BufferFullError):
                client.renew(subscription)
            assert (subscription.id in client._subscriptions) == (at == "UNSUBSCRIBE")
        client.renew(subscription)
        await eventually(lambda: len(of(fake, "SUBSCRIBE")) == 2)
        assert len(of(fake, "UNSUBSCRIBE")) == 1
        assert subscription.error is None


async def test_a_connection_is_alive_until_it_is_lost(fake: FakeBroker, eventually: Eventually) -> None:
    async with connected(fake) as client:
        assert (client.alive(0), client.alive(1)) == (False, True)
        lost: list[bool] = []
        client.listen(lambda: None, lambda _: lost.append(client.alive(1)))
        await fake.drop_connections()
        await eventually(lambda: client.generation == 2 and client.connected)
        assert (lost, client.alive(1), client.alive(2)) == ([False], False, True)


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
