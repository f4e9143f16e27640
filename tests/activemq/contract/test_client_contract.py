"""What the client relies on at a broker. FakeBroker and a real ActiveMQ pass the same tests."""

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest

from activemq.errors import ConnectFailedError, ConnectionLostError, ServerError
from activemq.frames import Limits, encode

pytestmark = pytest.mark.every_broker

TEXTS = {
    "empty": b"",
    "ASCII": b"hello",
    "UTF-8": "héllo wörld, 你好, \U0001f600".encode(),
    "lines": b"\n\nfirst\r\nsecond\n\n",
    "STOMP": b"MESSAGE\nsubscription:1\n\nhello",
    "large": "é".encode() * 500_000,
}
BYTES = {
    "empty": b"",
    "all bytes": bytes(range(256)),
    "NULs": b"\0\0\0",
    "a frame": b"a\0\nMESSAGE\nsubscription:1\n\nforged\0\n",
    "large": bytes(range(256)) * 4_000,
}


def number_of(frame) -> str:
    """The message's own part of its id: Artemis puts the consumer's number before it."""
    return frame.get("message-id").rpartition(",")[2]


async def test_request_and_reply_between_two_clients(target, join, inbox, send, queue: str) -> None:
    asker, worker = await join(target), await join(target)
    replies = inbox(asker, lambda p: p.replies("r"))
    work = inbox(worker, lambda p: p.consume(queue))
    for number in range(3):
        reply_to = asker.profile.reply_to("r")
        await send(asker, f"/queue/{queue}", b"?%d" % number, reply_to=reply_to, correlation_id=f"c{number}")
        request = await work.next()
        assert (request.body, request.get("correlation-id")) == (b"?%d" % number, f"c{number}")
        data = f"SEND\ndestination:{request.raw('reply-to')}\ncorrelation-id:c{number}\n\n!{number}\0"
        worker.send(data.encode())
        assert worker.ack(request, worker.generation)
        reply = await replies.next()
        assert (reply.body, reply.get("correlation-id")) == (b"!%d" % number, f"c{number}")


async def test_a_reply_may_come_before_its_subscription(target, join, inbox, send, queue: str) -> None:
    if not target.facts.temporary_queues:
        pytest.skip("there is no queue in which it could wait: it is dropped")
    asker, worker = await join(target), await join(target)
    work = inbox(worker, lambda p: p.consume(queue))
    await send(asker, f"/queue/{queue}", reply_to=asker.profile.reply_to("late"))
    request = await work.next()
    await send(worker, request.get("reply-to"), b"early")
    assert (await inbox(asker, lambda p: p.replies("late")).next()).body == b"early"


@pytest.mark.parametrize("body", TEXTS.values(), ids=TEXTS)
async def test_text_arrives_byte_for_byte(target, join, inbox, send, queue: str, body: bytes) -> None:
    client = await join(target)
    await send(client, f"/queue/{queue}", body)
    frame = await inbox(client, lambda p: p.consume(queue)).next()
    assert frame.body == body
    assert frame.get("content-length") is None or not target.profile.tells_text
    client.ack(frame, client.generation)


@pytest.mark.parametrize("body", BYTES.values(), ids=BYTES)
async def test_bytes_arrive_byte_for_byte(target, join, inbox, send, queue: str, body: bytes) -> None:
    client = await join(target)
    await send(client, f"/queue/{queue}", body, content_length=len(body))
    frame = await inbox(client, lambda p: p.consume(queue)).next()
    assert frame.body == body
    assert frame.get("content-length") == str(len(body))
    client.ack(frame, client.generation)


@pytest.mark.parametrize(
    "value",
    [
        *("a:b", "a\\b", "\\c", "\\\\n", "line\nfeed", "carriage\rreturn", "\r\n", "\n\n", "é 你好 \U0001f600", ""),
        *(" spaces ", "\ttab", 'a=b;c="d"', "x" * 8_192, ":" * 4_096),
    ],
    ids=lambda value: ascii(value)[:24],
)
async def test_headers_arrive_as_they_were(target, join, inbox, send, queue: str, value: str) -> None:
    client = await join(target)
    if "\r" in value and "1.2" not in client.profile.versions:
        pytest.skip("STOMP 1.1 has no escape for CR, and we never send one")
    await send(client, f"/queue/{queue}", b"x", http_header_x=value, correlation_id=f"c{value}", type=f"t{value}")
    frame = await inbox(client, lambda p: p.consume(queue)).next()
    assert frame.get("http-header-x") == value
    assert frame.get("correlation-id") == f"c{value}"
    assert frame.get("type") == f"t{value}"
    assert frame.body == b"x"
    client.ack(frame, client.generation)


async def test_a_receipt_does_not_leak_to_the_consumer(target, join, inbox, send, queue: str) -> None:
    client = await join(target)
    await send(client, f"/queue/{queue}", priority=7, persistent="true")
    frame = await inbox(client, lambda p: p.consume(queue)).next()
    assert (frame.get("priority"), frame.get("persistent")) == ("7", "true")
    assert (frame.get("receipt") is None) == target.facts.hides_receipts
    client.ack(frame, client.generation)


async def test_a_refused_send_keeps_the_connection(target, join, send, queue: str) -> None:
    client = await join(target)
    with pytest.raises(ServerError, match=target.facts.refusal):
        await send(client, target.facts.forbidden, b"x")
    await send(client, f"/queue/{queue}", b"x")
    assert client.generation == 1


async def test_a_refused_subscription_keeps_the_connection(target, join, send, queue: str) -> None:
    client = await join(target)
    subscription = client.subscribe(lambda _: {"destination": target.facts.forbidden}, lambda _: None)
    await send(client, f"/queue/{queue}", b"x")
    assert isinstance(subscription.error, ServerError)
    assert (client.generation, client.connected) == (1, True)


async def test_a_late_reply_harms_nobody(target, join, inbox, send, queue: str) -> None:
    asker, worker = await join(target), await join(target)
    work = inbox(worker, lambda p: p.consume(queue))
    await send(asker, f"/queue/{queue}", reply_to=asker.profile.reply_to("r"))
    request = await work.next()
    asker._connection.abort(ConnectionLostError("the test's will"))
    await asyncio.wait_for(asker.wait_connected(), 20)
    later = inbox(asker, lambda p: p.replies("r"))  # the same name on another connection is another destination
    with contextlib.suppress(ServerError):
        await send(worker, request.get("reply-to"), b"late")
    assert client_is_well(worker, request)
    await send(worker, f"/queue/{queue}", reply_to="nowhere")
    await send(asker, f"/queue/{queue}.sync")
    assert later.waiting == 0


def client_is_well(client, request) -> bool:
    return client.generation == 1 and client.ack(request, 1)


async def test_a_late_reply_is_refused_and_keeps_the_connection(
    target, join, inbox, send, queue: str, eventually
) -> None:
    if not target.facts.temporary_queues:
        pytest.skip("it is not refused but dropped")
    asker, worker = await join(target), await join(target)
    work = inbox(worker, lambda p: p.consume(queue))
    await send(asker, f"/queue/{queue}", reply_to=asker.profile.reply_to("r"))
    request = await work.next()
    await asker.stop()
    with pytest.raises(ServerError, match="temp-queue://ID:"):
        await send(worker, request.get("reply-to"), b"late")
    worker.send(encode("SEND", [("destination", request.get("reply-to"))], b"late, with no receipt"))
    worker.ack(request, worker.generation)
    await send(worker, f"/queue/{queue}.done", b"x")
    await eventually(lambda: worker.last_error)  # Classic sends this ERROR when it comes to it, behind the RECEIPT
    assert isinstance(worker.last_error, ServerError)
    assert worker.generation == 1


async def test_nobody_else_can_take_the_replies(target, join, inbox, send, queue: str) -> None:
    if not target.facts.temporary_queues:
        pytest.skip("rights keep others from it: tests/activemq/embedded/test_artemis.py")
    asker, thief = await join(target), await join(target)
    work = inbox(thief, lambda p: p.consume(queue))
    await send(asker, f"/queue/{queue}", reply_to=asker.profile.reply_to("r"))
    reply_to = (await work.next()).get("reply-to")
    subscription = thief.subscribe(lambda _: {"destination": reply_to}, lambda _: None)
    await send(thief, f"/queue/{queue}.done")
    assert isinstance(subscription.error, ServerError)


async def test_a_slot_has_one_message_at_a_time_and_two_share(target, join, inbox, send, queue: str) -> None:
    one, other, sender = await join(target), await join(target), await join(target)
    first, second = inbox(one, lambda p: p.consume(queue)), inbox(other, lambda p: p.consume(queue))
    await send(one, f"/queue/{queue}.sync")  # both subscriptions are in place
    await send(other, f"/queue/{queue}.sync")
    for number in range(6):
        await send(sender, f"/queue/{queue}", b"%d" % number)
    taken = [await first.next(), await second.next()]
    for box in (first, second):
        await send(box.client, f"/queue/{queue}.sync")  # whatever else was on its way has come
        assert box.waiting == 0
    while len(taken) < 6:
        one.ack(taken[-2], 1)
        other.ack(taken[-1], 1)
        taken += [await first.next(), await second.next()]
    assert sorted(frame.body for frame in taken) == [b"%d" % number for number in range(6)]


async def test_slots_on_one_connection_are_separate(target, join, inbox, send, queue: str) -> None:
    client = await join(target)
    slots = [inbox(client, lambda p: p.consume(queue)) for _ in range(3)]
    await send(client, f"/queue/{queue}.sync")
    for number in range(3):
        await send(client, f"/queue/{queue}", b"%d" % number)
    assert sorted([(await slot.next()).body for slot in slots]) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("death", ["reset", "good-bye"])
async def test_what_a_dead_worker_had_comes_again(target, join, inbox, send, queue: str, death: str) -> None:
    dying, other = await join(target), await join(target)
    work = inbox(dying, lambda p: p.consume(queue))
    await send(other, f"/queue/{queue}", b"x")
    first = await work.next()
    assert first.get("redelivered") in (None, "false")
    if death == "reset":
        dying._connection.abort(ConnectionLostError("the test's will"))
        dying._subscriptions.clear()
    else:
        await dying.stop()
    again = await inbox(other, lambda p: p.consume(queue)).next()
    assert (again.body, again.get("redelivered")) == (b"x", "true")
    assert number_of(again) == number_of(first)
    other.ack(again, other.generation)


async def test_a_lost_connection_makes_itself_anew_with_its_subscriptions(
    target, join, inbox, send, queue: str
) -> None:
    client = await join(target)
    work = inbox(client, lambda p: p.consume(queue))
    await send(client, f"/queue/{queue}", b"x")
    first = await work.next()
    client._connection.abort(ConnectionLostError("the test's will"))
    again = await work.next()
    assert (again.get("redelivered"), client.generation) == ("true", 2)
    assert not client.ack(first, 1)
    assert client.ack(again, 2)


async def test_what_has_expired_is_receipted_and_never_delivered(target, join, inbox, send, queue: str) -> None:
    client = await join(target)
    await send(client, f"/queue/{queue}", b"past", expires=client.clock.now_ms() - 1_000)
    await send(client, f"/queue/{queue}", b"future", expires=client.clock.now_ms() + 60_000)
    assert (await inbox(client, lambda p: p.consume(queue)).next()).body == b"future"


async def test_a_message_expires_while_it_waits(target, join, inbox, send, queue: str, eventually) -> None:
    client = await join(target)
    deadline = client.clock.now_ms() + 300
    await send(client, f"/queue/{queue}", b"short", expires=deadline)
    await send(client, f"/queue/{queue}", b"long")
    await eventually(lambda: client.clock.now_ms() > deadline + 50)
    assert (await inbox(client, lambda p: p.consume(queue)).next()).body == b"long"


async def test_the_brokers_clock_is_ours_on_this_machine(target, join) -> None:
    client = await join(target)
    assert client.clock.measured
    assert abs(client.clock.offset_ms) <= client.clock.error_ms + 2  # stamps are whole ms
    assert abs(client.clock.now_ms() - time.time() * 1_000) <= client.clock.error_ms + 3


async def test_a_bad_login_is_told(target, eventually) -> None:
    async with replace(target, passcode="wrong").client() as client:
        await eventually(lambda: client.last_error)
        assert isinstance(client.last_error, ConnectFailedError)
        assert "invalid" in str(client.last_error)
        assert not client.connected


async def test_an_oversize_message_costs_nothing_but_itself(target, join, inbox, send, queue: str) -> None:
    client = await join(target, limits=Limits(max_body=1_000))
    work = inbox(client, lambda p: p.consume(queue))
    for size in (1_001, 100_000, 1_000):
        await send(client, f"/queue/{queue}", b"x" * size, content_length=size)
        frame = await work.next()
        assert (frame.oversize, len(frame.body)) == ((0, size) if size <= 1_000 else (size, 0))
        client.ack(frame, client.generation)
    assert client.generation == 1


async def test_a_topic_reaches_all_who_listen(target, join, inbox, send) -> None:
    clients = [await join(target) for _ in range(3)]
    boxes = [inbox(client, lambda _: {"destination": "/topic/bridge.contract"}) for client in clients]
    for client in clients:
        await send(client, "/queue/contract.sync")
    await send(clients[0], "/topic/bridge.contract", b"all")
    assert [(await box.next()).body for box in boxes] == [b"all"] * 3


async def test_move_puts_a_copy_in_the_place_of_a_message(target, join, inbox, send, queue: str) -> None:
    client = await join(target)
    work = inbox(client, lambda p: p.consume(queue))
    await send(client, f"/queue/{queue}", b"original", persistent="true")
    frame = await work.next()
    copy = [("destination", f"/queue/{queue}"), ("persistent", "true")]
    await client.move(frame, 1, lambda extra: encode("SEND", [*copy, *extra], b"copy"), "2")
    second = await work.next()
    assert second.body == b"copy"
    assert second.get("redelivered") in (None, "false")
    assert client.ack(second, 1)
    await send(client, f"/queue/{queue}", b"last")
    assert (await work.next()).body == b"last"


async def test_a_refused_move_leaves_the_message_to_be_given_again(target, join, inbox, send, queue: str) -> None:
    client = await join(target)
    work = inbox(client, lambda p: p.consume(queue))
    await send(client, f"/queue/{queue}", b"original", persistent="true")
    frame = await work.next()
    copy = [("destination", target.facts.forbidden)]
    with pytest.raises(ServerError, match=target.facts.refusal):
        await client.move(frame, 1, lambda extra: encode("SEND", [*copy, *extra], b"copy"), "2")
    client.renew(work.subscription)
    again = await work.next()
    assert (again.body, client.generation) == (b"original", 1)
    assert (again.get("redelivered") == "true") == target.facts.counts_returned
    assert client.ack(again, 1)


async def test_renew_hands_on_what_was_not_acknowledged(target, join, inbox, send, queue: str) -> None:
    one, other = await join(target), await join(target)
    mine = inbox(one, lambda p: p.consume(queue))
    await send(one, f"/queue/{queue}", b"x")
    frame = await mine.next()
    theirs = inbox(other, lambda p: p.consume(queue))
    await send(other, f"/queue/{queue}.sync")
    one.renew(mine.subscription)
    again = await theirs.next()
    assert (again.body, number_of(again)) == (b"x", number_of(frame))
    other.ack(again, other.generation)
