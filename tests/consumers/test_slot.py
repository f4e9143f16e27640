"""A slot against a client that does what no broker does on demand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from activemq import Clock, Frame
from activemq.brokers import profile_for
from activemq.errors import BufferFullError, ConnectionLostError, NotConnectedError, ServerError
from consumers import Reply, delivery
from consumers.counts import Counts
from consumers.policies import Policies
from consumers.reply import BadReplyError, RefusedError
from consumers.slot import Slot
from tests.consumers.harness import PATIENCE, until

BY_OPENWIRE = {"message-id": "ID:vm-45079-1795338476088-1:1:1:1:1"}
REQUEST = {"message-id": "ID:1", "correlation-id": "c1", "reply-to": "/remote-temp-queue/ID:2", "ack": "a1"}


class StubClient:
    """Keeps what is sent; ``refusals`` are raised first, one for each attempt to write."""

    def __init__(self):
        self.clock = Clock()
        self.generation = 1
        self.sent = []
        self.acked = []
        self.receipts = {}
        self.forgotten = []
        self.unsubscribed = []
        self.refusals = []
        self.confirms = True
        self.connected = True
        self.on_lost = []
        self.profile = profile_for("classic", "")
        self.moved = []
        self.renewed = []

    def subscribe(self, headers, on_message):
        self.deliver = on_message
        return type("Subscription", (), {"id": "s1"})()

    def listen(self, on_connected, on_lost):
        self.on_lost.append(on_lost)

    def lose(self):
        self.connected = False
        for on_lost in self.on_lost:
            on_lost(ConnectionLostError("gone"))

    async def move(self, frame, generation, encode, what):
        data = encode([("transaction", "t1")])
        self.write()
        self.moved.append(data)

    def renew(self, subscription):
        self.write()
        self.renewed.append(subscription.id)

    def unsubscribe(self, subscription):
        self.write()
        self.unsubscribed.append(subscription.id)

    def alive(self, generation):
        return self.connected and generation == self.generation

    def send(self, data):
        self.write()
        self.sent.append(data)

    def write(self):
        if self.refusals:
            raise self.refusals.pop(0)

    def publish(self, data, receipt, on_receipt):
        self.write()
        self.sent.append(data)
        self.receipts[receipt] = on_receipt
        if self.confirms:
            on_receipt(receipt, None)

    def forget_receipt(self, receipt):
        self.forgotten.append(receipt)

    def ack(self, frame, generation):
        if not self.alive(generation):
            return False
        self.write()
        self.acked.append(frame)
        return True


async def answer(request):
    return Reply(b"done")


@asynccontextmanager
async def slot_with(handler=answer):
    client = StubClient()
    slot = Slot(client, "q", handler, "worker", Counts(), Policies.of(client, "worker"))
    task = asyncio.create_task(slot.run())
    try:
        yield client, slot, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def message(**headers):
    return Frame.of("MESSAGE", REQUEST | headers)


async def test_a_full_send_buffer_delays_the_reply_and_the_ack_and_loses_neither():
    async with slot_with() as (client, slot, _):
        client.refusals = [BufferFullError("full"), BufferFullError("full")]
        client.deliver(message())
        await until(lambda: client.sent)
        client.deliver(message())
        await until(lambda: len(client.acked) == 2)
    assert len(client.sent) == 2
    assert slot._counts.replied == 2


async def test_a_full_send_buffer_at_the_ack_is_waited_out():
    async with slot_with() as (client, _, task):
        client.confirms = False
        client.deliver(message())
        await until(lambda: client.sent)
        client.refusals = [BufferFullError("full"), BufferFullError("full")]
        client.receipts["s1-1"]("s1-1", None)
        await until(lambda: client.acked)
        assert not task.done()


async def test_a_reply_that_waits_for_room_is_dropped_with_its_connection():
    async with slot_with() as (client, slot, _):
        client.refusals = [BufferFullError("full")] * 1_000
        client.deliver(message())
        await until(lambda: len(client.refusals) < 1_000)
        client.generation = 2
        client.refusals = []
        await until(lambda: slot._counts.returned)
        client.deliver(message())
        await until(lambda: client.acked)
    assert len(client.sent) == 1  # the second's
    assert len(client.acked) == 1


@pytest.mark.parametrize("when", ["reply", "ack", "leaving"])
async def test_a_connection_that_is_closing_does_not_end_the_slot(when):
    async with slot_with() as (client, slot, task):
        if when == "reply":
            client.refusals = [NotConnectedError("closing")]
        client.confirms = False
        client.deliver(message())
        await until(lambda: client.sent or slot._counts.returned)
        if when == "ack":
            client.refusals = [NotConnectedError("closing")]
        if when != "reply":
            client.receipts["s1-1"]("s1-1", None)
            await until(lambda: client.acked or slot._counts.returned)
        await until(lambda: not slot.busy)
        if when == "leaving":
            client.refusals = [NotConnectedError("closing")]
        slot.drain()
        await asyncio.wait_for(task, PATIENCE)
    assert slot._counts.returned == (when != "leaving")


async def test_a_refused_reply_is_acknowledged_and_its_receipt_forgotten():
    async with slot_with() as (client, slot, _):
        client.confirms = False
        client.deliver(message())
        await until(lambda: client.sent)
        client.receipts["s1-1"]("s1-1", ServerError("temp-queue://ID:2", "s1-1"))
        await until(lambda: client.acked)
    assert client.forgotten == ["s1-1"]
    assert slot._counts.unwanted == 1


async def test_a_message_that_cannot_be_read_is_acknowledged_and_the_next_one_served():
    async with slot_with() as (client, slot, _):
        client.deliver(Frame("MESSAGE", "\nmessage-id:1\ncorrelation-id:\\q\nreply-to:/queue/x\nack:a1"))
        client.deliver(message())
        await until(lambda: len(client.acked) == 2)
    assert len(client.sent) == 1
    assert (slot._counts.failed, slot._counts.replied) == (1, 1)


async def test_a_handler_may_refuse_a_request_or_say_that_its_answer_cannot_be_sent():
    async def handler(request):
        if request.text() == "refuse":
            raise RefusedError(Reply.problem(409, "not twice"))
        raise BadReplyError("too much of it")

    async with slot_with(handler) as (client, slot, _):
        client.deliver(Frame.of("MESSAGE", REQUEST, b"refuse"))
        client.deliver(Frame.of("MESSAGE", REQUEST, b""))
        await until(lambda: len(client.acked) == 2)
    assert b"http_status:409" in client.sent[0]
    assert b"problem:bad-reply" in client.sent[1]
    assert slot._counts.failed == 1


@pytest.mark.parametrize("moment", ["waiting", "handler", "receipt", "buffer"])
async def test_cancelled_at_any_moment_a_slot_ends_without_an_ack(moment):
    began = asyncio.Event()

    async def handler(request):
        began.set()
        if moment == "handler":
            await asyncio.Event().wait()
        return Reply()

    async with slot_with(handler) as (client, slot, task):
        client.confirms = False
        if moment == "buffer":
            client.refusals = [BufferFullError("full")] * 1_000
        if moment == "waiting":
            await asyncio.sleep(0)
        else:
            client.deliver(message())
            await began.wait()
            await until(lambda: moment == "handler" or client.sent or len(client.refusals) in range(1, 1_000))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not client.acked
    assert not slot.busy


async def test_a_drained_slot_leaves_what_has_just_come_to_others():
    async with slot_with() as (client, slot, task):
        await asyncio.sleep(0)  # it waits
        client.deliver(message())
        slot.drain()
        await asyncio.wait_for(task, PATIENCE)
    assert client.unsubscribed
    assert not client.sent
    assert not client.acked


async def never(request):
    raise AssertionError("it must not be run")


def redelivered(head="", body=b"body"):
    start = "".join(f"\n{name}:{value}" for name, value in REQUEST.items())
    return Frame("MESSAGE", f"{start}\nredelivered:true{head}", body)


@pytest.mark.parametrize("head", ["\nbig:" + r"\c" * 9_000, "\nnul:a\0b"], ids=["a long header", "a NUL"])
async def test_a_lost_message_that_cannot_be_copied_is_parked_without_what_is_at_fault(head):
    async with slot_with(never) as (client, slot, _):
        client.deliver(redelivered(head))
        await until(lambda: client.moved)
    assert b"\ndestination:/queue/q.poison\n" in client.moved[0]
    assert b"problem:poisoned" in client.sent[0]
    assert (len(client.moved), slot._counts.poisoned, slot._counts.handed_on) == (1, 1, 0)


async def test_a_lost_message_of_which_nothing_can_be_parked_is_acknowledged_and_the_next_served():
    async with slot_with() as (client, slot, _):
        client.deliver(redelivered("\nbad:\\q"))
        client.deliver(message())
        await until(lambda: len(client.acked) == 2)
    assert b"problem:poisoned" in client.sent[0]
    assert (client.moved, slot._counts.poisoned, slot._counts.replied) == ([], 1, 2)


async def test_a_lost_message_whose_body_was_over_the_limit_is_refused_and_not_copied():
    async with slot_with(never) as (client, slot, _):
        frame = redelivered(body=b"")
        frame.oversize = 20_000_000
        client.deliver(frame)
        await until(lambda: client.acked)
    assert b"problem:worker-failed" in client.sent[0]
    assert (client.moved, slot._counts.failed) == ([], 1)


@pytest.mark.parametrize("more", [{}, {"redelivered": "true"}], ids=["at first", "redelivered"])
async def test_a_message_that_lost_its_body_on_the_way_is_refused_and_not_copied(more):
    async with slot_with(never) as (client, slot, _):
        client.deliver(message(**BY_OPENWIRE, **more))
        await until(lambda: client.acked)
    assert b"http_status:415" in client.sent[0]
    assert b"Map, Object or Stream message" in client.sent[0]
    assert (client.moved, slot._counts.unreadable, slot._counts.replied) == ([], 1, 1)


async def test_a_message_that_lost_its_body_and_has_no_requester_is_acknowledged():
    async with slot_with(never) as (client, slot, _):
        client.deliver(message(**BY_OPENWIRE, **{"reply-to": ""}))
        await until(lambda: client.acked)
    assert (client.sent, slot._counts.unreadable) == ([], 1)


async def test_an_empty_text_of_a_jms_client_that_says_so_is_run():
    async with slot_with() as (client, slot, _):
        client.deliver(message(**BY_OPENWIRE, content_length="0"))
        await until(lambda: client.acked)
    assert (slot._counts.unreadable, slot._counts.replied) == (0, 1)


async def test_a_lost_message_with_a_senseless_attempt_that_is_not_to_come_again_is_told():
    async with slot_with(never) as (client, _, task):
        client.deliver(redelivered("\nredeliver:false\nattempt:first"))
        await until(lambda: client.acked)
        assert not task.done()
    assert b"problem:worker-lost" in client.sent[0]


async def test_a_connection_that_is_lost_in_mid_job_is_no_cancelled_call():
    began = asyncio.Event()

    async def handler(request):
        began.set()
        await asyncio.Event().wait()

    async with slot_with(handler) as (client, slot, _):
        client.deliver(message())
        await began.wait()
        client.lose()  # and there is no next one yet
        await until(lambda: slot._counts.returned)
    assert (slot._counts.returned, slot._counts.cancelled) == (1, 0)
    assert not client.sent


async def test_a_full_send_buffer_delays_the_next_subscription_and_does_not_end_the_slot():
    go_on = asyncio.Event()

    async def handler(request):
        request.interruptible = False  # as in a thread
        await go_on.wait()

    async with slot_with(handler) as (client, slot, task):
        client.deliver(message())
        await until(lambda: slot.busy)
        client.lose()
        client.generation, client.connected = 2, True
        client.refusals = [BufferFullError("full")] * 2
        go_on.set()
        await until(lambda: client.renewed)
        assert not task.done()


async def test_a_full_send_buffer_delays_giving_back_what_could_not_be_moved(monkeypatch):
    monkeypatch.setattr(delivery, "_GIVE_BACK_AFTER", 0)
    async with slot_with(never) as (client, _, task):
        client.refusals = [ServerError("no"), BufferFullError("full"), BufferFullError("full")]
        client.deliver(redelivered())
        await until(lambda: client.renewed)
        assert not task.done()
    assert not client.moved


async def test_a_receipt_that_comes_in_the_turn_in_which_the_slot_is_cancelled_is_no_error():
    async with slot_with() as (client, _, task):
        client.confirms = False
        client.deliver(message())
        await until(lambda: client.sent)
        task.cancel()
        client.receipts["s1-1"]("s1-1", None)
        client.receipts["s1-1"]("s1-1", None)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not client.acked


async def test_progress_that_finds_no_room_is_lost_and_fails_no_handler():
    async def handler(request):
        request.progress(1)
        request.progress(2)
        return Reply(b"done")

    async with slot_with(handler) as (client, slot, _):
        client.refusals = [BufferFullError("full")]
        client.deliver(message(reply_kinds="progress"))
        await until(lambda: client.acked)
    assert [frame.split(b"\n\n")[1] for frame in client.sent] == [b"2\0", b"done\0"]
    assert slot._counts.failed == 0
