"""A broker within the process: what bridge and workers rely on when nothing else is between them."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from activemq.errors import NotConnectedError, ServerError
from activemq.frames import Limits, encode
from activemq.local import LocalBroker
from activemq.message import RequestMessage, encode_copy
from tests.bridge.callers import until

PATIENCE = 20.0  # seconds
QUEUE, TOPIC = "/queue/q", "/topic/t"


class Peer:
    """A client, and what has come to each of its subscriptions."""

    def __init__(self, client):
        self.client = client
        self.came = asyncio.Queue()

    def consume(self, name="q", prefetch=1):
        return self.client.subscribe(lambda profile: profile.consume(name, prefetch), self.came.put_nowait)

    def listen(self, destination):
        return self.client.subscribe(lambda _: {"destination": destination, "ack": "auto"}, self.came.put_nowait)

    async def next(self):
        async with asyncio.timeout(PATIENCE):
            return await self.came.get()

    async def send(self, destination=QUEUE, body=b"", **headers):
        """Send, and return once that is confirmed: whatever it brought about has come by then."""
        fields = {"destination": destination, "receipt": "r", **{k.replace("_", "-"): v for k, v in headers.items()}}
        await self.client.request_receipt(encode("SEND", fields.items(), body), "r", timeout=PATIENCE)

    async def nothing_comes(self):
        await self.send("/queue/of-nobody")
        assert self.came.empty()


@pytest.fixture
async def peers():
    broker = LocalBroker()
    async with AsyncExitStack() as stack:

        async def connect(**limits):
            client = broker.client(Limits(**limits) if limits else None)
            await stack.enter_async_context(client)
            async with asyncio.timeout(PATIENCE):
                await client.wait_connected()
            return Peer(client)

        yield connect


async def test_a_message_is_what_was_sent(peers):
    worker, asker = await peers(), await peers()
    worker.consume()
    await asker.send(body=b"x\0y", correlation_id="a:b", content_length="3", reply_to="/queue/answers", type="T")
    frame = await worker.next()
    assert (frame.command, frame.body, frame.get("correlation-id")) == ("MESSAGE", b"x\0y", "a:b")
    assert (frame.get("destination"), frame.get("reply-to"), frame.get("type")) == (QUEUE, "/queue/answers", "T")
    assert frame.get("receipt") is None
    assert abs(int(frame.get("timestamp")) - time.time() * 1_000) < 60_000


async def test_a_slot_has_one_message_at_a_time_and_the_next_goes_to_who_is_idle(peers):
    one, other = await peers(), await peers()
    one.consume()
    other.consume()
    for number in range(3):
        await one.send(body=b"%d" % number)
    first, second = await one.next(), await other.next()
    assert {first.body, second.body} == {b"0", b"1"}
    await one.nothing_comes()
    assert one.client.ack(first, one.client.generation)
    assert (await one.next()).body == b"2"


@pytest.mark.parametrize("prefetch", [1, 2, 3])
async def test_as_many_are_given_out_as_the_prefetch_says(peers, prefetch):
    worker = await peers()
    worker.consume(prefetch=prefetch)
    for _ in range(4):
        await worker.send()
    assert worker.came.qsize() == prefetch


async def test_the_urgent_goes_first_and_the_others_in_their_order(peers):
    worker = await peers()
    for body, priority in ((b"a", "4"), (b"b", "9"), (b"c", "4"), (b"d", "0")):
        await worker.send(body=body, priority=priority)
    worker.consume(prefetch=4)
    assert [(await worker.next()).body for _ in range(4)] == [b"b", b"a", b"c", b"d"]


async def test_what_is_past_its_expiry_is_never_delivered(peers):
    worker = await peers()
    await worker.send(body=b"late", expires=str(round(time.time() * 1_000)))
    await worker.send(body=b"in time", expires=str(round(time.time() * 1_000) + 60_000))
    worker.consume()
    assert (await worker.next()).body == b"in time"


@pytest.mark.parametrize("how", ["unsubscribes", "leaves"])
async def test_what_was_not_acknowledged_goes_to_another_and_says_so(peers, how):
    one, other = await peers(), await peers()
    subscription = one.consume()
    await one.send(body=b"x")
    assert (await one.next()).get("redelivered") is None
    if how == "leaves":
        await one.client.stop()
    else:
        one.client.unsubscribe(subscription)
    other.consume()
    frame = await other.next()
    assert (frame.body, frame.get("redelivered")) == (b"x", "true")


async def test_all_who_listen_on_a_topic_have_it_and_nobody_later(peers):
    one, other, late = await peers(), await peers(), await peers()
    one.listen(TOPIC)
    other.listen(TOPIC)
    await late.send(TOPIC, b"news")
    assert (await one.next()).body == (await other.next()).body == b"news"
    late.listen(TOPIC)
    await late.nothing_comes()


async def test_a_reply_queue_is_its_connections_own_and_ends_with_it(peers):
    asker, stranger, worker = await peers(), await peers(), await peers()
    asker.listen("/temp-queue/replies")
    stranger.listen("/temp-queue/replies")
    worker.consume()
    await asker.send(reply_to="/temp-queue/replies")
    reply_to = (await worker.next()).get("reply-to")
    await worker.send(reply_to, b"answer")
    assert (await asker.next()).body == b"answer"
    await stranger.nothing_comes()
    await asker.client.stop()
    with pytest.raises(ServerError, match="is not there any more"):
        await worker.send(reply_to, b"too late")
    assert worker.client.connected


@pytest.mark.parametrize("destination", ["/temp-queue/nobody", "nonsense", ""])
async def test_a_destination_that_is_none_is_refused_and_the_connection_stays(peers, destination):
    peer = await peers()
    with pytest.raises(ServerError):
        await peer.send(destination)
    subscription = peer.listen("nonsense")
    await peer.nothing_comes()
    assert subscription.error is not None
    assert peer.client.connected


async def test_there_are_no_transactions(peers):
    worker = await peers()
    worker.consume()
    await worker.send(body=b"x")
    frame = await worker.next()

    def copy(extra):
        return encode_copy(RequestMessage(frame), QUEUE, 2, extra)

    with pytest.raises(ServerError, match="no transactions"):
        await worker.client.move(frame, worker.client.generation, copy, "2")
    await worker.nothing_comes()  # neither the copy nor, since it is not acknowledged, anything else


async def test_who_listens_is_told_to_a_newcomer_and_then_each_change(peers):
    worker, watcher = await peers(), await peers()
    worker.consume()
    subscription = worker.consume()
    await worker.nothing_comes()
    (headers,) = watcher.client.profile.roll_call(["q"], "beacon")
    watcher.client.subscribe(lambda _: headers, watcher.came.put_nowait)
    told = [watcher.client.profile.attendance(await watcher.next()) for _ in range(2)]
    assert [(one.names, one.listeners) for one in told if not one.is_topic] == [(("q",), 2)] * 2
    worker.client.unsubscribe(subscription)
    assert watcher.client.profile.attendance(await watcher.next()).listeners == 1


async def test_nothing_is_handed_over_before_the_sender_goes_on(peers):
    """As from a socket: who sends within a turn of the loop is not called back in it."""
    peer = await peers()
    peer.consume()
    await peer.nothing_comes()
    confirmed = []
    peer.client.publish(encode("SEND", [("destination", QUEUE), ("receipt", "r")]), "r", lambda *_: confirmed.append(1))
    assert (peer.came.empty(), confirmed) == (True, [])
    await peer.client.drain()
    assert (peer.came.qsize(), confirmed) == (1, [1])


async def test_a_body_over_a_clients_limit_is_dropped_and_said_to_be(peers):
    worker, other = await peers(max_body=10), await peers()
    worker.consume()
    for size in (10, 11):
        await other.send(body=b"x" * size, content_length=f"{size}")
    frame = await worker.next()
    assert (len(frame.body), frame.oversize) == (10, 0)
    worker.client.ack(frame, worker.client.generation)
    frame = await worker.next()
    assert (len(frame.body), frame.oversize) == (0, 11)


async def test_a_handler_that_fails_costs_its_connection_and_the_message_goes_to_another(peers):
    one, other = await peers(), await peers()

    def fails(_):
        raise RuntimeError("a defect")

    one.client.subscribe(lambda profile: profile.consume("q"), fails)
    await other.nothing_comes()
    await other.send(body=b"x")
    other.consume()
    generation = one.client.generation
    await until(lambda: one.client.generation > generation)
    assert other.client.connected


async def test_who_has_left_can_send_nothing(peers):
    peer = await peers()
    await peer.client.stop()
    with pytest.raises(NotConnectedError):
        peer.client.send(encode("SEND", [("destination", QUEUE)]))
