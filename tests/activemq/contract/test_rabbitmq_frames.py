"""What RabbitMQ does with STOMP frames: the facts that its profile and docs/brokers.md rest on, frame by frame.

If one of these fails on another version, the profile has to be looked at, and the page.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from activemq.frames import MIB, SERVER_COMMANDS, Frame
from tests.activemq.harness import Wire
from tests.rabbitmq import RabbitMq

Login = Callable[..., Awaitable[Wire]]
# The SUBSCRIBE headers of a queue that is this connection's alone and ends with it.
OURS = {"ack": "auto", "durable": "false", "exclusive": "true", "auto_delete": "true"}
ONE_BY_ONE = {"ack": "client-individual", "prefetch_count": 1}


async def dial(broker: RabbitMq, **headers: object) -> Wire:
    """A connection, with the broker's answer to CONNECT still to be read."""
    wire = Wire(*await asyncio.open_connection("127.0.0.1", broker.stomp_port), SERVER_COMMANDS)
    who = {"login": broker.login, "passcode": broker.passcode, "host": "/"}
    wire.send("CONNECT", **{"accept_version": "1.2", **who, **headers})
    return wire


@pytest.fixture
async def login(rabbitmq: RabbitMq) -> AsyncIterator[Login]:
    """``await login()`` gives a connection that is logged in."""
    wires: list[Wire] = []

    async def login(**headers: object) -> Wire:
        wire = await dial(rabbitmq, **headers)
        wires.append(wire)
        wire.connected = await wire.frame()
        assert wire.connected.command == "CONNECTED"
        return wire

    yield login
    for wire in wires:
        await wire.close()


@pytest.fixture
def queue() -> str:
    return f"frames.{uuid.uuid4().hex}"


async def done(wire: Wire, command: str, body: bytes = b"", /, **headers: object) -> None:
    """Send, and wait for the RECEIPT."""
    assert (await wire.done(command, body, **headers)).command == "RECEIPT"


async def refused(wire: Wire, command: str, /, **headers: object) -> Frame:
    """Send, and return the ERROR."""
    wire.send(command, **headers, receipt="refused")
    error = await wire.frame()
    assert error.command == "ERROR"
    return error


async def stays(wire: Wire, *, is_open: bool = True) -> None:
    """The connection goes on; or else it is closed, which takes the broker a moment."""
    if is_open:
        await done(wire, "BEGIN", transaction="open")
        await done(wire, "ABORT", transaction="open")
    else:
        await wire.eof()


# -- its name, heart-beats


async def test_it_says_its_name(login: Login) -> None:
    assert (await login()).connected.get("server").startswith("RabbitMQ/")


@pytest.mark.parametrize(
    ("asked", "answer"), [("0,0", "0,0"), ("500,500", "1000,1000"), ("1500,2500", "2000,1000"), ("10000,0", "0,10000")]
)
async def test_heart_beats_are_in_whole_seconds(login: Login, asked: str, answer: str) -> None:
    assert (await login(heart_beat=asked)).connected.get("heart-beat") == answer


@pytest.mark.parametrize(
    ("headers", "reason"), [({"passcode": "wrong"}, b"Access refused for user"), ({"host": "nowhere"}, b"Virtual host")]
)
async def test_a_refused_login_has_its_reason_in_the_body(rabbitmq: RabbitMq, headers: dict, reason: bytes) -> None:
    wire = await dial(rabbitmq, **headers)
    error = await wire.frame()
    assert (error.command, error.get("message")) == ("ERROR", "Bad CONNECT")
    assert reason in error.body
    await wire.close()


# -- replies


async def test_a_temporary_reply_queue_is_named_in_reply_to_only(login: Login, queue: str) -> None:
    asker, worker = await login(), await login()
    await done(worker, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", **ONE_BY_ONE)
    await done(asker, "SEND", b"?", destination=f"/queue/{queue}", reply_to="/temp-queue/r", correlation_id="c")
    request = await worker.frame()
    assert request.get("reply-to").startswith("/reply-queue/amq.gen-")
    await done(worker, "SEND", b"!", destination=request.get("reply-to"), correlation_id="c")
    reply = await asker.frame()
    assert (reply.get("subscription"), reply.body) == ("/temp-queue/r", b"!")  # nobody has subscribed
    for command in ("SEND", "SUBSCRIBE"):
        error = await refused(asker, command, destination="/temp-queue/r", id_="r")
        assert error.get("message") == "Invalid destination"
    await stays(asker)


async def test_an_exclusive_queue_and_a_bare_name_as_reply_to(login: Login, queue: str) -> None:
    asker, worker = await login(), await login()
    mine = f"bridge.reply.{queue}"
    await done(asker, "SUBSCRIBE", destination=f"/queue/{mine}", id_="mine", **OURS)
    await done(worker, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", **ONE_BY_ONE)
    await done(asker, "SEND", b"?", destination=f"/queue/{queue}", reply_to=mine)
    request = await worker.frame()
    assert request.get("reply-to") == f"/reply-queue/{mine}"
    await done(worker, "SEND", b"!", destination=request.get("reply-to"))
    assert ((reply := await asker.frame()).get("subscription"), reply.body) == ("mine", b"!")
    await done(asker, "SEND", b"echo", destination=f"/reply-queue/{mine}")
    assert (await asker.frame()).body == b"echo"


async def test_an_exclusive_queue_is_closed_to_others_who_may_write_to_it(login: Login, queue: str) -> None:
    owner, other = await login(), await login()
    await done(owner, "SUBSCRIBE", destination=f"/queue/{queue}", id_="o", **OURS)
    error = await refused(await login(), "SUBSCRIBE", destination=f"/queue/{queue}", id_="x")
    assert error.get("message") == "resource_locked"
    # `/queue/` declares what it names; `/reply-queue/` and `/amq/queue/` do not.
    error = await refused(await login(), "SEND", destination=f"/queue/{queue}")
    assert error.get("message") == "resource_locked"
    await done(other, "SEND", b"hi", destination=f"/amq/queue/{queue}")
    assert (await owner.frame()).body == b"hi"


async def test_a_late_reply_is_confirmed_and_dropped(rabbitmq: RabbitMq, login: Login, queue: str) -> None:
    owner, worker = await login(), await login()
    await done(owner, "SUBSCRIBE", destination=f"/queue/{queue}", id_="o", **OURS)
    await owner.close()
    await _gone(rabbitmq, queue)
    await done(worker, "SEND", b"late", destination=f"/reply-queue/{queue}")
    assert queue not in rabbitmq.control("list_queues", "name")


async def _gone(rabbitmq: RabbitMq, queue: str) -> None:
    end = time.monotonic() + 20
    while queue in await asyncio.to_thread(rabbitmq.control, "list_queues", "name"):
        assert time.monotonic() < end


async def test_a_connection_declares_a_queue_once_so_its_own_is_not_made_again(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="1", **OURS)
    await done(wire, "UNSUBSCRIBE", id_="1")
    error = await refused(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="2", **OURS)
    assert error.get("message") == "not_found"
    await stays(wire, is_open=False)


# -- queues


async def test_queue_declares_and_amq_queue_does_not(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SEND", b"lost", destination=f"/amq/queue/{queue}")
    await done(wire, "SEND", b"kept", destination=f"/queue/{queue}")
    await done(wire, "SUBSCRIBE", destination=f"/amq/queue/{queue}", id_="w", ack="auto")
    assert (await wire.frame()).body == b"kept"
    error = await refused(await login(), "SUBSCRIBE", destination=f"/amq/queue/{queue}.none", id_="w")
    assert error.get("message") == "not_found"


async def test_a_queue_of_another_kind_costs_the_connection_that_declares_it(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SEND", b"1", destination=f"/queue/{queue}", x_queue_type="quorum", persistent="true")
    error = await refused(await login(), "SUBSCRIBE", destination=f"/queue/{queue}", id_="w")
    assert error.get("message") == "precondition_failed"
    assert b"inequivalent arg 'x-queue-type'" in error.body
    await done(wire, "SUBSCRIBE", destination=f"/amq/queue/{queue}", id_="w", ack="auto")
    assert (await wire.frame()).body == b"1"


async def test_priorities_need_a_queue_that_was_declared_for_them(login: Login, queue: str) -> None:
    wire = await login()
    for name, arguments in ((queue, {}), (f"{queue}.sorted", {"x_max_priority": 10})):
        for priority in (1, 9, 4):
            body = b"%d" % priority
            await done(wire, "SEND", body, destination=f"/queue/{name}", priority=priority, **arguments)
        await done(wire, "SUBSCRIBE", destination=f"/amq/queue/{name}", id_=name, ack="auto")
    order = [(await wire.frame()).body for _ in range(6)]
    assert order == [b"1", b"9", b"4", b"9", b"4", b"1"]


async def test_expiration_is_a_time_to_live(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SEND", b"short", destination=f"/queue/{queue}", expiration=1)
    await done(wire, "SEND", b"absolute", destination=f"/queue/{queue}", expires=1)
    await asyncio.sleep(0.05)  # its time to live, many times over
    await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", ack="auto")
    assert (await wire.frame()).body == b"absolute"


@pytest.mark.parametrize(("value", "is_open"), [("4294967295", True), ("abc", False), ("-1", False)])
async def test_an_expiration_that_is_none_costs_the_connection(
    login: Login, queue: str, value: str, is_open: bool
) -> None:
    wire = await login()
    wire.send("SEND", destination=f"/queue/{queue}", expiration=value)
    await stays(wire, is_open=is_open)


# -- taking and giving back


async def test_prefetch_is_of_each_subscription(login: Login, queue: str) -> None:
    wire, other = await login(), await login()
    for number in range(4):
        await done(other, "SEND", b"%d" % number, destination=f"/queue/{queue}")
    for name in ("one", "two"):
        await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_=name, **ONE_BY_ONE)
    first, second = await wire.frame(), await wire.frame()
    assert {first.get("subscription"), second.get("subscription")} == {"one", "two"}
    assert await wire.quiet()
    await done(wire, "ACK", id_=first.get("ack"))
    assert (await wire.frame()).get("subscription") == first.get("subscription")


async def test_a_lost_consumer_gives_back_and_only_what_it_had_is_redelivered(login: Login, queue: str) -> None:
    lost, other = await login(), await login()
    for number in range(2):
        await done(other, "SEND", b"%d" % number, destination=f"/queue/{queue}")
    await done(lost, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", **ONE_BY_ONE)
    assert (await lost.frame()).get("redelivered") == "false"
    lost.writer.transport.abort()
    await done(other, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", ack="auto")
    got = {frame.body: frame.get("redelivered") for frame in [await other.frame(), await other.frame()]}
    assert got == {b"0": "true", b"1": "false"}


async def test_unsubscribe_keeps_what_is_unacknowledged(login: Login, queue: str) -> None:
    """And it can be neither acknowledged nor refused any more, unless a subscription has the same id again."""
    holder, other = await login(), await login()
    await done(other, "SEND", b"1", destination=f"/queue/{queue}")
    await done(holder, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", **ONE_BY_ONE)
    held = await holder.frame()
    await done(holder, "UNSUBSCRIBE", id_="w")
    await done(other, "SUBSCRIBE", destination=f"/queue/{queue}", id_="o", ack="auto")
    assert await other.quiet()
    error = await refused(holder, "NACK", id_=held.get("ack"))
    assert error.get("message") == "Subscription not found"
    await done(holder, "SUBSCRIBE", destination="/topic/bridge.nothing", id_="w", ack="client-individual")
    await done(holder, "NACK", id_=held.get("ack"))
    again = await other.frame()
    assert (again.body, again.get("redelivered")) == (b"1", "true")


async def test_nack_gives_back_at_once(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SEND", b"1", destination=f"/queue/{queue}")
    await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", **ONE_BY_ONE)
    first = await wire.frame()
    wire.send("NACK", id_=first.get("ack"))
    again = await wire.frame()
    assert (again.body, again.get("redelivered")) == (b"1", "true")


async def test_a_second_ack_costs_the_connection(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SEND", b"1", destination=f"/queue/{queue}")
    await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", **ONE_BY_ONE)
    message = await wire.frame()
    await done(wire, "ACK", id_=message.get("ack"))
    wire.send("ACK", id_=message.get("ack"))
    await stays(wire, is_open=False)


async def test_only_a_quorum_queue_counts_deliveries(login: Login, queue: str) -> None:
    other = await login()
    for kind in ("classic", "quorum"):
        name = f"{queue}.{kind}"
        await done(other, "SEND", b"1", destination=f"/queue/{name}", x_queue_type=kind, persistent="true")
        counts = []
        for _ in range(3):
            wire = await login()
            await done(wire, "SUBSCRIBE", destination=f"/amq/queue/{name}", id_="w", **ONE_BY_ONE)
            counts.append((await wire.frame()).get("x-delivery-count"))
            wire.writer.transport.abort()
        assert counts == ([None, None, None] if kind == "classic" else [None, "1", "2"])


async def test_dead_letters_go_where_the_queue_was_declared_to_send_them(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}.dead", id_="dead", ack="auto")
    dead = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": f"{queue}.dead"}
    await done(wire, "SEND", b"1", destination=f"/queue/{queue}", **dead)
    await done(wire, "SUBSCRIBE", destination=f"/amq/queue/{queue}", id_="w", **ONE_BY_ONE)
    message = await wire.frame()
    wire.send("NACK", id_=message.get("ack"), requeue="false")
    parked = await wire.frame()
    assert (parked.get("subscription"), parked.get("x-first-death-reason")) == ("dead", "rejected")


# -- transactions


async def test_a_transaction_is_kept_by_the_connection_and_sent_at_commit(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "BEGIN", transaction="t")
    wire.send("SEND", b"1", destination=f"/queue/{queue}", transaction="t", receipt="sent")
    assert await wire.quiet()  # no receipt before COMMIT, so nobody can be asked first whether it is taken
    wire.send("COMMIT", transaction="t")
    assert (await wire.frame()).get("receipt-id") == "sent"


async def test_a_commit_of_which_half_is_refused_is_confirmed(login: Login, queue: str) -> None:
    """The ACK took effect, the SEND did not, and the receipt of COMMIT comes: never move a message so."""
    wire, other = await login(), await login()
    await done(other, "SEND", b"1", destination=f"/queue/{queue}")
    await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", **ONE_BY_ONE)
    message = await wire.frame()
    await done(wire, "BEGIN", transaction="t")
    wire.send("ACK", id_=message.get("ack"), transaction="t")
    wire.send("SEND", b"copy", destination=f"/queue/{queue}.copy", transaction="t", expiration="abc")
    await done(wire, "COMMIT", transaction="t")
    await stays(wire, is_open=False)
    await done(other, "SUBSCRIBE", destination=f"/queue/{queue}", id_="o", ack="auto")
    assert await other.quiet()


# -- errors


@pytest.mark.parametrize(
    ("command", "headers", "is_open"),
    [
        ("SEND", {"destination": "/nowhere/x"}, True),
        ("SEND", {"destination": "/queue/"}, True),
        ("SEND", {"destination": "/queue/frames.any", "reply_to": "/nowhere/x"}, True),
        ("SEND", {"destination": "/queue/frames.any", "priority": "abc"}, True),
        ("SEND", {"destination": "/queue/frames.any", "timestamp": "abc"}, True),
        ("SEND", {"destination": "/queue/frames.any", "message_id": "x"}, True),
        ("SEND", {"destination": "/queue/frames.any", "x_max_priority": "abc"}, True),
        ("SEND", {"destination": "/queue/amq.any"}, False),
        ("SEND", {"destination": "/queue/frames.any", "user_id": "somebody-else"}, False),
        ("SEND", {"destination": "/exchange/frames.none/x"}, False),
        ("ACK", {"id_": "T_none@@session-x@@1"}, True),
        ("UNSUBSCRIBE", {"id_": "none"}, True),
        ("COMMIT", {"transaction": "none"}, True),
        ("NOTHING", {}, True),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_an_error_does_not_say_what_it_is_the_answer_to(
    login: Login, command: str, headers: dict[str, str], is_open: bool
) -> None:
    wire = await login()
    error = await refused(wire, command, **headers)
    assert error.get("receipt-id") is None
    await stays(wire, is_open=is_open)


async def test_a_refused_subscription_is_told_confirmed_and_costs_the_connection(login: Login, queue: str) -> None:
    wire = await login()
    await done(await login(), "SEND", b"1", destination=f"/queue/{queue}", x_max_priority=5)
    assert (await refused(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w")).get("receipt-id") is None
    assert (await wire.frame()).get("receipt-id") == "refused"  # a RECEIPT
    with pytest.raises((EOFError, ConnectionError)):
        await wire.frame()


# -- what a message carries


async def test_headers_of_the_sender_are_handed_on_also_its_receipt(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", ack="auto")
    value = " a:b \\ \n é "
    wire.send(
        "SEND",
        destination=f"/queue/{queue}",
        receipt="r",
        type_="t",
        correlation_id="c",
        content_type="text/html",
        priority=7,
        persistent="true",
        expiration=60_000,
        own=value,
    )
    frames = [await wire.frame(), await wire.frame()]
    (message,) = [frame for frame in frames if frame.command == "MESSAGE"]
    expected = {"receipt": "r", "type": "t", "correlation-id": "c", "content-type": "text/html", "own": value}
    assert expected.items() <= message.headers.items()
    assert {"priority": "7", "persistent": "true", "expiration": "60000"}.items() <= message.headers.items()
    assert "timestamp" not in message.headers
    assert "content-length" not in message.headers  # of an empty body


async def test_bodies_are_bytes_with_their_length(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", ack="auto")
    for body, headers in (("é".encode(), {}), (b"\0a\0", {"content_length": 3})):
        await done(wire, "SEND", body, destination=f"/queue/{queue}", **headers)
        message = await wire.frame()
        assert (message.body, message.get("content-length")) == (body, str(len(body)))


async def test_this_version_has_no_limit_for_a_frame(login: Login, queue: str) -> None:
    """Later ones close the connection over ``stomp.max_frame_size``, 4 MiB, without an ERROR."""
    wire = await login()
    body = b"x" * (5 * MIB)
    await done(wire, "SEND", body, destination=f"/queue/{queue}", content_length=len(body), expiration=1_000)


async def test_a_topic_is_a_routing_key(login: Login, queue: str) -> None:
    wire = await login()
    await done(wire, "SUBSCRIBE", destination=f"/topic/{queue}", id_="t", ack="auto")
    await done(wire, "SEND", b"1", destination=f"/exchange/amq.topic/{queue}")
    message = await wire.frame()
    assert (message.get("destination"), message.body) == (f"/topic/{queue}", b"1")
    await done(wire, "SEND", b"1", destination=f"/topic/{queue}.nobody")  # confirmed, and nowhere


# -- who listens


async def test_events_tell_of_consumers_that_come_and_go_but_not_of_those_that_are_there(
    login: Login, queue: str
) -> None:
    watcher, worker, early = await login(), await login(), await login()
    await done(early, "SUBSCRIBE", destination=f"/queue/{queue}", id_="early", ack="auto")
    await done(watcher, "SUBSCRIBE", destination="/exchange/amq.rabbitmq.event/consumer.#", id_="e", ack="auto")
    await done(worker, "SUBSCRIBE", destination=f"/queue/{queue}", id_="w", ack="auto")
    await done(worker, "UNSUBSCRIBE", id_="w")
    told = []
    while len(told) < 2:
        event = await watcher.frame()
        if event.get("queue") == queue:
            told.append((event.get("destination").rpartition("/")[2], event.get("consumer_tag")))
    # No word of `early`, and no number in any: nobody can say from these that no one is there.
    assert told == [("consumer.created", "T_w"), ("consumer.deleted", "T_w")]
