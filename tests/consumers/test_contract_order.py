"""What a worker does on the wire, and in which order, seen between it and a real ActiveMQ."""

from __future__ import annotations

import asyncio

import pytest

from activemq import Client, Server
from tests.consumers.harness import PATIENCE, Gate, left_in, running, until, worker_of

pytestmark = pytest.mark.every_broker


async def echo(body: bytes) -> bytes:
    return body


async def test_the_reply_goes_out_its_receipt_comes_in_and_only_then_the_message_is_acknowledged(
    broker, requester, proxy, queue
):
    async with running(worker_of(queue, echo), broker, port=proxy.port):
        proxy.frames.clear()
        await requester.call(queue, b"once")
        await until(lambda: proxy.sent("ACK"))
        story = proxy.story("MESSAGE", "SEND", "RECEIPT", "ACK")
        frames = {f"{way}{frame.command}": frame for way, frame in proxy.frames}

    assert story == ["<MESSAGE", ">SEND", "<RECEIPT", ">ACK"]
    assert frames["<RECEIPT"].get("receipt-id") == frames[">SEND"].get("receipt")
    assert frames[">ACK"].get("id") == frames["<MESSAGE"].get("ack")


async def test_without_the_receipt_there_is_no_ack_although_the_requester_has_its_reply(
    broker, requester, proxy, queue
):
    gate = Gate()
    async with running(worker_of(queue, gate), broker, port=proxy.port):
        call = await requester.send(queue, "once")
        await until(lambda: gate.begun)
        proxy.flowing.clear()  # the broker's frames stay away from the worker from now on
        gate.open.set()
        await requester.reply(call)
        assert not proxy.sent("ACK")
        proxy.flowing.set()
        await until(lambda: proxy.sent("ACK"))


async def test_each_slot_is_a_subscription_with_one_message_at_a_time(broker, proxy, queue):
    async with running(worker_of(queue, echo), broker, 3, port=proxy.port) as run:
        destination = f"/queue/{queue}"
        subscribed = [frame.headers for frame in proxy.sent("SUBSCRIBE") if frame.get("destination") == destination]
        window = {"classic": "activemq.prefetchSize", "artemis": "consumer-window-size"}[run.client.profile.kind]

    assert len(subscribed) == 3
    assert len({headers["id"] for headers in subscribed}) == 3
    assert {headers["ack"] for headers in subscribed} == {"client-individual"}
    assert {headers[window] for headers in subscribed} == {"1"}


async def test_the_reply_is_as_persistent_as_the_request(broker, requester, proxy, queue):
    async with running(worker_of(queue, echo), broker, port=proxy.port):
        await requester.call(queue, b"kept", persistent="true")
        await requester.call(queue, b"not kept")
        replies = {frame.body: frame.get("persistent") for frame in proxy.sent("SEND") if frame.get("http_status")}

    assert replies == {b"kept": "true", b"not kept": None}


async def test_the_idle_worker_takes_the_next_message(broker, requester, queue):
    long, short = Gate(), []

    async def handler(text: str) -> str:
        if text == "long":
            return await long(text)
        short.append(text)
        return text

    async with running(worker_of(queue, handler), broker) as one, running(worker_of(queue, handler), broker) as other:
        held = await requester.send(queue, "long")
        await until(lambda: long.begun)
        for number in range(6):
            await requester.call(queue, f"short {number}")
        assert len(short) == 6
        assert not long.ended
        long.open.set()
        await requester.reply(held)
        await until(lambda: one.counts.replied + other.counts.replied == 7)
        assert sorted([one.counts.replied, other.counts.replied]) == [1, 6]


async def test_as_many_run_at_once_as_there_are_slots_and_no_more(broker, requester, queue):
    gate = Gate()
    async with running(worker_of(queue, gate), broker, 3) as run:
        calls = [await requester.send(queue, f"{number}") for number in range(5)]
        await until(lambda: len(gate.begun) == 3)
        await run.round_trip()
        assert len(gate.begun) == 3
        gate.open.set()
        assert {(await requester.reply(call)).body for call in calls} == {b"0", b"1", b"2", b"3", b"4"}


async def test_a_worker_serves_several_queues(broker, requester, queue):
    worker = worker_of(queue, echo)
    worker.handler(f"{queue}.other")(lambda body: b"other")
    async with running(worker, broker):
        assert (await requester.call(queue, b"x")).body == b"x"
        assert (await requester.call(f"{queue}.other", b"x")).body == b"other"


async def test_draining_finishes_what_runs_acknowledges_it_and_takes_nothing_more(broker, requester, proxy, queue):
    gate = Gate()
    async with running(worker_of(queue, gate), broker, 2, port=proxy.port) as run:
        call = await requester.send(queue, "running")
        await until(lambda: gate.begun)
        proxy.frames.clear()
        run.stopping.set()
        await until(lambda: proxy.sent("UNSUBSCRIBE"))  # the idle slot's
        await requester.send(queue, "later")
        await run.round_trip()
        assert gate.begun == ["running"]
        gate.open.set()
        assert (await requester.reply(call)).body == b"running"
        await run.drain()

    assert proxy.story("ACK", "UNSUBSCRIBE") == [">UNSUBSCRIBE", ">ACK", ">UNSUBSCRIBE"]
    assert gate.begun == ["running"]
    assert await left_in(queue, requester) == [b"later"]


async def test_a_busy_slot_is_unsubscribed_only_after_its_ack(broker, requester, proxy, queue):
    gate = Gate()
    async with running(worker_of(queue, gate), broker, port=proxy.port) as run:
        call = await requester.send(queue, "running")
        await until(lambda: gate.begun)
        proxy.frames.clear()
        run.stopping.set()
        await run.round_trip()
        assert not proxy.sent("UNSUBSCRIBE")
        gate.open.set()
        await requester.reply(call)
        await run.drain()

    assert proxy.story("ACK", "UNSUBSCRIBE", "DISCONNECT") == [">ACK", ">UNSUBSCRIBE", ">DISCONNECT"]


async def test_no_message_is_lost_or_doubled_when_workers_come_and_go(broker, requester, queue):
    calls = [await requester.send(queue, f"{number}") for number in range(40)]
    done = 0
    while done < 40:
        async with running(worker_of(queue, echo), broker, 4) as run:
            await until(lambda run=run: run.counts.replied >= 1)
        done += run.counts.replied

    assert done == 40
    assert [(await requester.reply(call)).body for call in calls] == [b"%d" % number for number in range(40)]


async def test_stopping_before_there_is_a_connection_ends_at_once(unused_tcp_port, queue):
    worker, stop = worker_of(queue, echo), asyncio.Event()
    task = asyncio.create_task(worker.run(Client([Server("127.0.0.1", unused_tcp_port)]), 1, stop, pytest.fail))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(PATIENCE):
        await task


async def test_a_request_that_came_to_nobody_waits_for_the_first_worker(broker, requester, queue):
    call = await requester.send(queue, b"early")
    async with running(worker_of(queue, echo), broker):
        assert (await requester.reply(call)).body == b"early"
