"""FakeBroker does with messages what Classic 6.3.1 does.

What is asserted here was seen on a real broker; contract/test_fakebroker_contract.py holds both to it.
"""

import time

import pytest

from activemq.testing import FakeBroker
from activemq.testing.store import Destination

QUEUE = "/queue/orders"
SLOT = {"ack": "client-individual", "activemq.prefetchSize": "1"}


def now_ms() -> int:
    return int(time.time() * 1_000)


# -- queues


async def test_a_message_waits_for_its_consumer(fake: FakeBroker, connect) -> None:
    wire = await connect()
    await wire.done("SEND", b"hello", destination=QUEUE, correlation_id="c1", type="t", colour="a:b\\c\n")
    (waiting,) = fake.messages("orders")
    assert (waiting.body, waiting.correlation_id, waiting.properties) == (b"hello", "c1", {"colour": "a:b\\c\n"})
    await wire.done("SUBSCRIBE", id_="s1", destination=QUEUE)
    message = await wire.frame()
    assert message.headers.items() >= {
        ("destination", QUEUE),
        ("subscription", "s1"),
        ("correlation-id", "c1"),
        ("type", "t"),
        ("colour", "a:b\\c\n"),
        ("priority", "4"),
        ("expires", "0"),
    }
    assert message.body == b"hello"
    assert not {"receipt", "redelivered", "ack", "persistent", "content-length"} & message.headers.keys()
    assert fake.messages("orders") == fake.unacknowledged("orders") == []


async def test_a_bare_name_is_a_queues(fake: FakeBroker, connect) -> None:
    wire = await connect()
    await wire.done("SEND", b"x", destination="orders")
    assert len(fake.messages("orders")) == len(fake.messages(QUEUE)) == 1
    await wire.done("SUBSCRIBE", id_="1", destination="orders")
    assert (await wire.frame()).get("destination") == QUEUE


async def test_messages_come_by_priority_then_in_order(fake: FakeBroker, connect) -> None:
    wire = await connect()
    for number, priority in enumerate((4, 9, 0, 9, 4)):
        await wire.done("SEND", b"%d" % number, destination=QUEUE, priority=priority)
    assert [message.body for message in fake.messages("orders")] == [b"1", b"3", b"0", b"4", b"2"]
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE)
    assert [(await wire.frame()).body for _ in range(5)] == [b"1", b"3", b"0", b"4", b"2"]


async def test_two_consumers_take_turns(fake: FakeBroker, connect) -> None:
    wires = [await connect(), await connect()]
    for wire in wires:
        await wire.done("SUBSCRIBE", id_="1", destination=QUEUE)
    for number in range(4):
        await wires[0].done("SEND", b"%d" % number, destination=QUEUE)
    assert [(await wires[0].frame()).body, (await wires[0].frame()).body] == [b"0", b"2"]
    assert [(await wires[1].frame()).body, (await wires[1].frame()).body] == [b"1", b"3"]


@pytest.mark.parametrize(
    ("headers", "kind", "length"),
    [
        ({}, "text", None),
        ({"content_length": "3"}, "bytes", "3"),
        ({"amq_msg_type": "text", "content_length": "3"}, "text", "3"),  # the broker leaves the sender's header in
        ({"amq_msg_type": "bytes"}, "bytes", "3"),
    ],
)
async def test_text_and_bytes_are_kept_apart(
    fake: FakeBroker, connect, headers: dict[str, str], kind: str, length: str | None
) -> None:
    wire = await connect()
    await wire.done("SEND", b"abc", destination=QUEUE, **headers)
    (waiting,) = fake.messages("orders")
    assert waiting.text == (kind == "text")
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE)
    assert (await wire.frame()).get("content-length") == length


async def test_bytes_arrive_as_they_were_and_text_as_utf_8(fake: FakeBroker, connect) -> None:
    wire = await connect()
    await wire.done("SEND", b"a\0\xff", destination=QUEUE, content_length="3")
    await wire.done("SEND", b"\xff", destination=QUEUE)
    assert [message.body for message in fake.messages("orders")] == [b"a\0\xff", "\ufffd".encode()]


async def test_an_unknown_kind_of_message_is_refused(connect) -> None:
    wire = await connect()
    assert (await wire.done("SEND", destination=QUEUE, amq_msg_type="map")).get("message") == (
        "Unsupported message type 'map'"
    )


# -- acknowledging


async def test_prefetch_is_how_many_may_be_unacknowledged(fake: FakeBroker, connect) -> None:
    wire = await connect()
    for number in range(3):
        await wire.done("SEND", b"%d" % number, destination=QUEUE)
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, **SLOT)
    first = await wire.frame()
    assert await wire.quiet()
    assert [message.body for message in fake.unacknowledged("orders")] == [b"0"]
    assert [message.body for message in fake.messages("orders")] == [b"1", b"2"]
    wire.write(f"ACK\nid:{first.raw('ack')}\n\n\0".encode())
    assert (await wire.frame()).body == b"1"


async def test_the_default_prefetch_is_1000(fake: FakeBroker, connect) -> None:
    wire = await connect()
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, ack="client-individual")
    for number in range(1_001):
        wire.send("SEND", destination=QUEUE, n=number)
    await wire.done("SEND", destination=QUEUE)
    assert (len(fake.unacknowledged("orders")), len(fake.messages("orders"))) == (1_000, 2)


async def test_a_prefetch_of_0_never_delivers(fake: FakeBroker, connect) -> None:
    wire = await connect()
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, **{"activemq.prefetchSize": 0})
    await wire.done("SEND", destination=QUEUE)
    assert await wire.quiet()


async def test_client_acknowledges_all_up_to_a_message_and_client_individual_that_one(
    fake: FakeBroker, connect
) -> None:
    wire = await connect()
    for ack in ("client", "client-individual"):
        for number in range(3):
            await wire.done("SEND", b"%d" % number, destination=ack)
        await wire.done("SUBSCRIBE", id_=ack, destination=ack, ack=ack)
        frames = [await wire.frame() for _ in range(3)]
        await wire.done("ACK", id_=frames[1].get("ack"))
    assert [message.body for message in fake.unacknowledged("client")] == [b"2"]
    assert [message.body for message in fake.unacknowledged("client-individual")] == [b"0", b"2"]


async def test_an_unknown_ack_is_refused_and_the_connection_stays(connect) -> None:
    wire = await connect()
    error = await wire.done("ACK", id_="nope")
    assert (error.command, error.get("message")) == ("ERROR", "Unexpected ACK received for message-id [null]")
    assert await wire.quiet()


async def test_a_message_is_acknowledged_once(connect) -> None:
    wire = await connect()
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, **SLOT)
    await wire.done("SEND", destination=QUEUE)
    ack = (await wire.frame()).get("ack")
    assert (await wire.done("ACK", id_=ack)).command == "RECEIPT"
    assert (await wire.done("ACK", id_=ack)).command == "ERROR"


async def test_stomp_1_1_acknowledges_by_message_id(fake: FakeBroker, connect) -> None:
    wire = await connect(version="1.1")
    await wire.done("SEND", destination=QUEUE)
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, **SLOT)
    message = await wire.frame()
    await wire.done("ACK", subscription="1", message_id=message.get("message-id"))
    assert fake.unacknowledged("orders") == []


async def test_nack_destroys_a_message_and_buries_a_persistent_one(fake: FakeBroker, connect) -> None:
    wire = await connect()
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, ack="client-individual")
    for persistent in ("false", "true"):
        await wire.done("SEND", destination=QUEUE, persistent=persistent)
        await wire.done("NACK", id_=(await wire.frame()).get("ack"))
    assert fake.messages("orders") == fake.unacknowledged("orders") == []
    (dead,) = fake.messages("ActiveMQ.DLQ")
    assert dead.properties["original-destination"] == QUEUE


async def test_what_a_dead_connection_had_not_acknowledged_comes_again_at_its_old_place(
    fake: FakeBroker, connect
) -> None:
    dying, other = await connect(), await connect()
    for number in range(3):
        await other.done("SEND", b"%d" % number, destination=QUEUE)
    await dying.done("SUBSCRIBE", id_="1", destination=QUEUE, **SLOT)
    assert (await dying.frame()).get("redelivered") is None
    await dying.close()
    await other.done("SUBSCRIBE", id_="1", destination=QUEUE, ack="client-individual")
    frames = [await other.frame() for _ in range(3)]
    assert [(frame.body, frame.get("redelivered")) for frame in frames] == [(b"0", "true"), (b"1", None), (b"2", None)]


async def test_what_an_ended_subscription_had_not_acknowledged_comes_again(connect) -> None:
    wire = await connect()
    await wire.done("SEND", destination=QUEUE)
    for redelivered in (None, "true"):
        await wire.done("SUBSCRIBE", id_="1", destination=QUEUE, **SLOT)
        assert (await wire.frame()).get("redelivered") == redelivered
        await wire.done("UNSUBSCRIBE", id_="1")


# -- temporary queues


async def test_a_reply_finds_its_way_through_a_temporary_queue(connect) -> None:
    asker, worker = await connect(), await connect()
    await asker.done("SUBSCRIBE", id_="r", destination="/temp-queue/r")
    await worker.done("SUBSCRIBE", id_="w", destination=QUEUE)
    await asker.done("SEND", b"?", destination=QUEUE, reply_to="/temp-queue/r", correlation_id="c")
    reply_to = (await worker.frame()).get("reply-to")
    assert reply_to.startswith("/remote-temp-queue/ID:")
    await worker.done("SEND", b"!", destination=reply_to, correlation_id="c")
    answer = await asker.frame()
    assert (answer.body, answer.get("correlation-id"), answer.get("destination")) == (b"!", "c", "/temp-queue/r")


async def test_a_temporary_queue_is_made_at_its_first_mention_and_keeps_what_comes(connect) -> None:
    asker, worker = await connect(), await connect()
    await asker.done("SEND", destination=QUEUE, reply_to="/temp-queue/r")
    await worker.done("SUBSCRIBE", id_="w", destination=QUEUE)
    await worker.done("SEND", b"early", destination=(await worker.frame()).get("reply-to"))
    await asker.done("SUBSCRIBE", id_="r", destination="/temp-queue/r")
    assert (await asker.frame()).body == b"early"


async def test_the_same_name_is_another_queue_on_another_connection(connect) -> None:
    one, other = await connect(), await connect()
    for wire in (one, other):
        await wire.done("SUBSCRIBE", id_="r", destination="/temp-queue/r")
    await one.done("SEND", b"mine", destination="/temp-queue/r")
    assert (await one.frame()).body == b"mine"
    assert await other.quiet()


async def test_a_reply_to_a_dead_temporary_queue_is_refused_and_the_connection_stays(fake: FakeBroker, connect) -> None:
    asker, worker = await connect(), await connect()
    await asker.done("SEND", destination=QUEUE, reply_to="/temp-queue/r")
    await worker.done("SUBSCRIBE", id_="w", destination=QUEUE)
    reply_to = (await worker.frame()).get("reply-to")
    await asker.close()
    error = await worker.done("SEND", b"late", destination=reply_to)
    assert error.command == "ERROR"
    assert error.get("message") == str(Destination("temp-queue", reply_to.removeprefix("/remote-temp-queue/")))
    worker.send("SEND", b"late", destination=reply_to)
    unasked = await worker.frame()
    assert (unasked.command, unasked.get("receipt-id")) == ("ERROR", None)
    assert await worker.quiet()


async def test_nobody_else_may_subscribe_to_a_temporary_queue(connect) -> None:
    asker, worker = await connect(), await connect()
    await asker.done("SEND", destination=QUEUE, reply_to="/temp-queue/r")
    await worker.done("SUBSCRIBE", id_="w", destination=QUEUE)
    error = await worker.done("SUBSCRIBE", id_="x", destination=(await worker.frame()).get("reply-to"))
    assert "created by another connection" in error.get("message")


@pytest.mark.parametrize(
    ("reply_to", "shown"),
    [("/queue/answers", "/queue/answers"), ("/topic/answers", "/topic/answers"), ("whatever", "whatever")],
)
async def test_other_reply_addresses_are_handed_on(connect, reply_to: str, shown: str) -> None:
    wire = await connect()
    await wire.done("SEND", destination=QUEUE, reply_to=reply_to)
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE)
    assert (await wire.frame()).get("reply-to") == shown


# -- topics


async def test_a_topic_is_for_those_who_listen_now(connect) -> None:
    early, late = await connect(), await connect()
    await early.done("SUBSCRIBE", id_="1", destination="/topic/news")
    await early.done("SEND", b"first", destination="/topic/news")
    await late.done("SUBSCRIBE", id_="1", destination="/topic/news")
    await early.done("SEND", b"second", destination="/topic/news")
    assert [(await early.frame()).body, (await early.frame()).body] == [b"first", b"second"]
    assert (await late.frame()).get("destination") == "/topic/news"
    assert await late.quiet()


# -- time


@pytest.mark.parametrize(("ahead", "arrives"), [(-1_000, False), (60_000, True)])
async def test_what_is_past_its_expiry_is_receipted_and_never_delivered(connect, ahead: int, arrives: bool) -> None:
    wire = await connect()
    assert (await wire.done("SEND", destination=QUEUE, expires=now_ms() + ahead)).command == "RECEIPT"
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE)
    assert await wire.quiet() != arrives


async def test_a_waiting_message_expires(fake: FakeBroker, connect, eventually) -> None:
    wire = await connect()
    await wire.done("SEND", destination=QUEUE, expires=now_ms() + 50)
    await eventually(lambda: not fake.messages("orders"))


async def test_a_message_is_stamped_with_the_brokers_time(connect) -> None:
    async with FakeBroker(clock_offset=3_600.0) as broker:
        wire = await connect(broker.port)
        before = now_ms()
        await wire.done("SEND", destination=QUEUE)
        await wire.done("SUBSCRIBE", id_="1", destination=QUEUE)
        assert before <= int((await wire.frame()).get("timestamp")) - 3_600_000 <= now_ms()


async def test_a_senders_own_stamp_stands(connect) -> None:
    wire = await connect()
    await wire.done("SEND", destination=QUEUE, timestamp="5")
    await wire.done("SUBSCRIBE", id_="1", destination=QUEUE)
    assert (await wire.frame()).get("timestamp") == "5"
