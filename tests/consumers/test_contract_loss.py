"""A worker, its connection or the broker dies in the middle of a job: another has it, and nothing crosses over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from activemq.frames import encode
from tests.consumers.harness import PATIENCE, Gate, Requester, left_in, new_client, running, until, worker_of

pytestmark = pytest.mark.every_broker

ROOT = Path(__file__).parents[2]

# A worker in a process of its own: it is told where on stdin, and says what it does on stdout.
PROCESS = """
import asyncio, json, sys
from activemq import Client, Credentials, Server
from consumers import Worker

told = json.loads(sys.stdin.readline())
worker = Worker()

@worker.handler(told["queue"])
async def never_ends(text: str):
    print("begun", text, flush=True)
    await asyncio.Event().wait()

client = Client([Server("127.0.0.1", told["port"])], Credentials(told["login"], told["passcode"]))
asyncio.run(worker.run(client, 1, asyncio.Event(), lambda: print("ready", flush=True)))
"""


async def test_a_connection_lost_in_mid_job_gives_the_job_to_another_and_no_ack_or_reply_crosses_to_the_next(
    broker, requester, proxy, queue
):
    slow, quick = Gate(), Gate()
    quick.open.set()
    loser = worker_of(queue, slow)
    async with running(loser, broker, port=proxy.port) as losing:
        call = await requester.send(queue, "job")
        await until(lambda: slow.begun)
        proxy.open_to_clients = False
        proxy.cut()
        async with running(worker_of(queue, quick), broker):
            assert (await requester.reply(call)).body == b"job"
            proxy.frames.clear()
            proxy.open_to_clients = True
            await until(lambda: losing.client.connected)
            assert losing.client.generation == 2
            slow.open.set()
            await until(lambda: loser.counts.returned)
            await losing.round_trip()
            assert not proxy.sent("ACK")
            assert not [frame for frame in proxy.sent("SEND") if frame.get("correlation-id")]
    assert len(requester.replies[call]) == 1
    assert quick.begun == ["job"]
    assert loser.counts.replied == 0


async def test_after_the_loss_the_same_worker_serves_on_its_next_connection(broker, requester, proxy, queue):
    gate = Gate()
    worker = worker_of(queue, gate)
    async with running(worker, broker, port=proxy.port) as run:
        call = await requester.send(queue, "job")
        await until(lambda: gate.begun)
        proxy.cut()
        await until(lambda: run.client.generation == 2 and run.client.connected)
        gate.open.set()  # the first run was interrupted, the message comes again
        assert (await requester.reply(call)).body == b"job"
    assert (gate.begun, gate.ended) == (["job", "job"], ["job"])
    assert (worker.counts.returned, worker.counts.replied) == (1, 1)


async def test_a_connection_lost_between_reply_and_receipt_leaves_the_message_unacknowledged(
    broker, requester, proxy, queue
):
    gate = Gate()
    worker = worker_of(queue, gate)
    async with running(worker, broker, port=proxy.port):
        call = await requester.send(queue, "job")
        await until(lambda: gate.begun)
        proxy.flowing.clear()
        gate.open.set()
        await until(lambda: call in requester.replies)
        proxy.cut()
        proxy.flowing.set()
        await until(lambda: worker.counts.replied == 1)  # again: at least once
    assert worker.counts.returned == 1
    assert gate.ended == ["job", "job"]
    assert [frame.body for frame in requester.replies[call]] == [b"job", b"job"]


async def test_a_handler_whose_connection_is_lost_is_interrupted_and_its_message_begun_again(
    broker, requester, proxy, queue
):
    gate = Gate()
    worker = worker_of(queue, gate)
    async with running(worker, broker, port=proxy.port):
        await requester.send(queue, "first")
        for attempt in (1, 2, 3):
            await until(lambda number=attempt: len(gate.begun) == number)
            if attempt < 3:
                proxy.cut()
        gate.open.set()
        await until(lambda: worker.counts.replied == 1)
    assert gate.ended == ["first"]
    assert (worker.counts.returned, worker.counts.handed_on) == (2, 2)


async def test_a_thread_that_goes_on_after_the_loss_takes_no_message_that_another_could(
    broker, requester, proxy, queue
):
    """It cannot be interrupted: until it ends its slot is not there for the broker."""
    begun, go_on = [], threading.Event()

    def stubborn(text: str) -> str:
        begun.append(text)
        go_on.wait(PATIENCE)
        return "of the thread"

    gate = Gate()
    gate.open.set()
    async with running(worker_of(queue, stubborn), broker, port=proxy.port) as run:
        call = await requester.send(queue, "job")
        await until(lambda: begun)
        proxy.cut()
        await until(lambda: run.client.generation == 2 and run.client.connected)
        async with running(worker_of(queue, gate), broker):
            assert (await requester.reply(call)).body == b"job"
            go_on.set()
            await until(lambda: not run.worker.counts.replied and run.worker.counts.returned == 1)
        assert (await requester.call(queue, "next")).body == b"of the thread"


async def test_a_worker_killed_in_mid_job_has_its_call_answered_by_another(broker, requester, queue):
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROCESS,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        told = {"port": broker.stomp_port, "login": broker.login, "passcode": broker.passcode, "queue": queue}
        victim.stdin.write(json.dumps(told).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            assert await victim.stdout.readline() == b"ready\n"
            call = await requester.send(queue, "job")
            assert await victim.stdout.readline() == b"begun job\n"
        gate = Gate()
        gate.open.set()
        async with running(worker_of(queue, gate), broker):
            os.kill(victim.pid, signal.SIGKILL)
            reply = await requester.reply(call)
    finally:
        if victim.returncode is None:
            victim.kill()
        await victim.wait()
    assert reply.body == b"job"
    assert reply.get("problem") is None
    assert gate.begun == ["job"]


@pytest.mark.slow
async def test_a_broker_that_is_killed_and_comes_back_finds_the_worker_again(own_broker, queue):
    broker = await own_broker()
    gate = Gate()
    worker = worker_of(queue, gate)
    async with running(worker, broker) as run:
        async with Requester(new_client(broker)) as requester:
            await requester.send(queue, "kept", persistent="true")
            await until(lambda: gate.begun)
            await broker.kill()
            await until(lambda: not run.client.connected)
            await broker.start()
            await until(lambda: run.client.connected)
        gate.open.set()
        async with Requester(new_client(broker)) as requester:
            assert (await requester.call(queue, "new")).body == b"new"
        await until(lambda: gate.ended == ["kept", "new"])
    assert worker.counts.returned == 1


async def test_draining_with_no_broker_there_ends(broker, requester, proxy, queue):
    gate = Gate()
    worker = worker_of(queue, gate)
    async with running(worker, broker, port=proxy.port) as run:
        await requester.send(queue, "job")
        await until(lambda: gate.begun)
        proxy.open_to_clients = False
        proxy.cut()
        await until(lambda: not run.client.connected)
        run.stopping.set()
        gate.open.set()
        await run.drain()
    assert gate.ended == []  # interrupted: the broker gives the job to another
    assert worker.counts.returned == 1


async def test_a_worker_that_is_cancelled_leaves_the_message_to_others(broker, requester, queue):
    ran = []

    async def hangs(text: str) -> None:
        ran.append(text)
        await asyncio.Event().wait()

    async with running(worker_of(queue, hangs), broker) as run:
        call = await requester.send(queue, "job")
        await until(lambda: ran)
        run.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run.task
        run.task = asyncio.create_task(asyncio.sleep(0))
    gate = Gate()
    gate.open.set()
    async with running(worker_of(queue, gate), broker):
        assert (await requester.reply(call)).body == b"job"


async def test_a_foreign_frame_on_the_connection_does_not_disturb(broker, requester, queue):
    """An ERROR that is no answer to anything of ours is logged, and the worker goes on."""
    gate = Gate()
    gate.open.set()
    async with running(worker_of(queue, gate), broker) as run:
        run.client.send(encode("ACK", [("id", "nobody's")]))
        assert (await requester.call(queue, "job")).body == b"job"
        assert run.client.generation == 1


async def test_a_lost_message_with_a_header_that_is_too_long_to_send_again_costs_nobody_the_connection(
    broker, requester, proxy, queue
):
    """Escaped it is over 10 KiB, for which Classic drops a connection; legal on the way in."""
    # Artemis, which has no such limit, takes nothing of a value from a bare colon on.
    colon = b"\\c" if requester.client.profile.kind == "artemis" else b":"
    call = await requester.send_raw(queue, b"big:" + colon * 9_000, b"job")
    came = []
    async with new_client(broker, proxy.port) as victim:
        victim.subscribe(lambda profile: profile.consume(queue), came.append)
        await until(lambda: came)
        proxy.open_to_clients = False
        proxy.cut()  # Artemis does not count what is given back in good order
    gate = Gate()
    gate.open.set()
    async with running(worker_of(queue, gate), broker) as run:
        assert (await requester.reply(call)).get("problem") == "poisoned"
        assert (await requester.call(queue, "next")).body == b"next"
        assert run.client.generation == 1
    assert await left_in(f"{queue}.poison", requester) == [b"job"]
    assert gate.begun == ["next"]
