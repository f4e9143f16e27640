"""A broker that has no room for a reply: the work is done, and its answer must not be lost."""

from __future__ import annotations

import asyncio

import pytest
import stomp

from activemq.testing import FakeBroker
from consumers import Worker
from consumers.adapters.stomppy import WorkerListener
from tests.consumers.harness import Requester, new_client, running, until

REPLIES = "/queue/answers"
# What Classic 6.3.1 says, word for word.
FULL = "Persistent store is Full, 100% of 50331648. Stopping producer (ID:1) to prevent flooding queue://answers."
GONE = "temp-queue://ID:1-1:2:1"


@pytest.fixture
async def fake():
    async with FakeBroker() as broker:
        yield broker


@pytest.fixture
async def requester(fake):
    async with Requester(new_client(fake)) as requester:
        yield requester


@pytest.fixture(params=["worker", "stomp.py"])
async def serving(request, fake):
    """A worker of either kind that echoes and counts; its counts."""
    ran = []

    def echo(asked):
        ran.append(asked.body)
        return asked.body

    if request.param == "worker":
        worker = Worker()
        worker.handler("q")(echo)
        async with running(worker, fake) as at_work:
            yield ran, at_work.counts
        return
    connection = stomp.StompConnection12([("127.0.0.1", fake.port)], auto_decode=False)
    listener = WorkerListener(connection, "q", echo)
    connection.set_listener("worker", listener)
    await asyncio.to_thread(connection.connect, "me", "pass", wait=True)
    yield ran, listener.counts
    await asyncio.to_thread(listener.close)
    await asyncio.to_thread(connection.disconnect, "bye")


async def test_the_reply_is_sent_again_until_there_is_room_and_the_message_is_kept_meanwhile(
    fake, requester, serving, caplog
):
    ran, counts = serving
    fake.refuse(REPLIES, FULL)
    await requester.send("q", b"job", reply_to=REPLIES, **requester.in_time())
    await until(lambda: caplog.text.count("no room for the reply") or counts.unwanted)
    assert [message.body for message in fake.unacknowledged("q")] == [b"job"]
    fake.allow(REPLIES)
    await until(lambda: fake.messages("answers"))
    await until(lambda: not fake.unacknowledged("q"))
    assert [message.body for message in fake.messages("answers")] == [b"job"]
    assert (ran, counts.replied, counts.unwanted) == ([b"job"], 1, 0)


async def test_nobody_waits_for_the_reply_after_the_deadline(fake, requester, serving, caplog):
    _, counts = serving
    fake.refuse(REPLIES, FULL)
    await requester.send("q", b"job", reply_to=REPLIES, **requester.in_time(0.3))
    await until(lambda: counts.unwanted)
    await until(lambda: not fake.unacknowledged("q"))
    assert "no room for the reply" in caplog.text
    assert not fake.messages("answers")


async def test_any_other_refusal_is_final_at_once(fake, requester, serving, caplog):
    _, counts = serving
    fake.refuse(REPLIES, GONE)
    await requester.send("q", b"job", reply_to=REPLIES, **requester.in_time())
    await until(lambda: counts.unwanted)
    await until(lambda: not fake.unacknowledged("q"))
    assert "no room" not in caplog.text
