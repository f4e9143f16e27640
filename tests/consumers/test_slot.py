"""A slot against a client that does what no broker does on demand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from activemq import Clock, Frame
from activemq.errors import BufferFullError, NotConnectedError, ServerError
from consumers import Reply
from consumers.counts import Counts
from consumers.policies import Policies
from consumers.reply import BadReplyError, RefusedError
from consumers.slot import Slot
from tests.consumers.harness import PATIENCE, until

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

    def subscribe(self, headers, on_message):
        self.deliver = on_message
        return type("Subscription", (), {"id": "s1"})()

    def listen(self, on_connected, on_lost):
        pass

    def unsubscribe(self, subscription):
        self.write()
        self.unsubscribed.append(subscription.id)

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
        if generation != self.generation:
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
