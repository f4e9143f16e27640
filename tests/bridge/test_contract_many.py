"""A thousand calls at once, workers of another make, workers that are killed: each call has its own reply."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import secrets
import sys
import threading

import pytest
import stomp

from activemq.errors import ConnectionLostError
from bridge.settings import Route
from consumers import Request, Worker
from tests.bridge.callers import PATIENCE, Caller, request, until
from tests.bridge.harness import ToldWorker, client_for, running, settings_for

pytestmark = pytest.mark.every_broker

AT_ONCE = 1_000


@pytest.fixture(autouse=True)
def descriptors():
    """Both ends of a thousand connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8_192), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
async def test_a_thousand_calls_held_at_once_have_each_its_own_reply(broker, implementation, queue):
    name = queue(f"many-{implementation}")
    routes = [Route(name="many", path="/many", queue=name, timeout=60.0, max_held=AT_ONCE)]
    async with (
        ToldWorker(broker, name) as worker,
        running(settings_for(broker, routes, drain=60.0), implementation) as bridge,
        contextlib.AsyncExitStack() as stack,
    ):
        callers = {}
        for _ in range(AT_ONCE):
            caller = await stack.enter_async_context(await Caller.connect(bridge.port))
            nonce = secrets.token_bytes(16)
            callers[nonce] = caller
            await caller.send(request("/many", nonce))
        messages = [await worker.request(name) for _ in callers]
        await bridge.held(AT_ONCE)
        assert (await bridge.call("/many")).name == "route-full"
        assert len({message.get("correlation-id") for message in messages}) == AT_ONCE
        random.Random(3).shuffle(messages)
        await asyncio.gather(*(worker.reply(message, message.body[::-1]) for message in messages))
        for nonce, caller in callers.items():
            assert (await caller.response()).body == nonce[::-1]
        await bridge.at_rest()
        assert bridge.bridge.exchange.counts.stray_replies == 0


# -- stomp.py, an implementation that is not ours


class StompPyWorker(stomp.ConnectionListener):
    """Does only what a worker must: copy the correlation id, send to reply-to."""

    def __init__(self, broker, queue):
        self.connection = stomp.Connection12([("127.0.0.1", broker.stomp_port)], auto_decode=False)
        self.connection.set_listener("worker", self)
        self.connection.connect(broker.login, broker.passcode, wait=True)
        self.ready = threading.Event()
        self.connection.subscribe(f"/queue/{queue}", id="work", ack="client-individual", headers={"receipt": "ready"})
        assert self.ready.wait(PATIENCE)

    def on_receipt(self, frame):
        if frame.headers.get("receipt-id") == "ready":
            self.ready.set()

    def on_message(self, frame):
        headers = {"correlation-id": frame.headers["correlation-id"]}
        if frame.headers["http_target"].endswith("?json"):
            headers |= {"http_status": "202", "content_type": "application/json"}
        body = frame.body if isinstance(frame.body, bytes) else frame.body.encode()
        self.connection.send(frame.headers["reply-to"], body, headers=headers)
        self.connection.ack(frame.headers["ack"])

    def close(self):
        self.connection.disconnect(receipt="bye")


async def test_a_worker_on_stomp_py_needs_only_the_correlation_id_and_reply_to(broker, implementation, queue):
    name = queue(f"stomppy-{implementation}")
    routes = [Route(name="theirs", path="/theirs", queue=name, timeout=15.0)]
    worker = await asyncio.to_thread(StompPyWorker, broker, name)
    try:
        async with running(settings_for(broker, routes), implementation) as bridge:
            for body in (b"", b"text", bytes(range(256)) * 4, "käse".encode()):
                response = await bridge.call("/theirs", body)
                assert (response.status, response.body) == (200, body)
            response = await bridge.call("/theirs?json", b"{}", headers=(("Content-Type", "application/json"),))
            assert (response.status, response.body) == (202, b"{}")
            assert response.get("content-type") == "application/json"
            calls = [asyncio.create_task(bridge.call("/theirs", b"%d" % number)) for number in range(50)]
            assert [(await one).body for one in calls] == [b"%d" % number for number in range(50)]
    finally:
        await asyncio.to_thread(worker.close)


# -- workers that are killed

WORKER = """
import asyncio, os, sys
from activemq import Client, Credentials, Server
from consumers import Request, Worker

worker = Worker("the one that dies")

async def hang(request: Request) -> str:
    print("took", request.text(), flush=True)
    await asyncio.Event().wait()

async def main(port, login, queue):
    worker.handler(queue)(hang)
    client = Client([Server("127.0.0.1", int(port))], Credentials(login, os.environ["PASSCODE"]))
    await worker.run(client, 1, asyncio.Event(), lambda: print("ready", flush=True))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_worker_is_killed_in_mid_job_and_another_answers_the_same_call(broker, implementation, queue):
    name = queue(f"killed-{implementation}")
    routes = [Route(name="job", path="/job", queue=name, timeout=30.0, started="always")]  # both workers say it

    async def answer(request: Request) -> str:
        return f"{request.text()}, attempt {request.attempt}"

    other = Worker("the other")
    other.handler(name)(answer)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(broker.stomp_port), broker.login, name,
        stdout=asyncio.subprocess.PIPE, env={"PASSCODE": broker.passcode},
    )  # fmt: skip
    stop = asyncio.Event()
    try:
        async with running(settings_for(broker, routes, drain=30.0), implementation) as bridge:
            async with asyncio.timeout(PATIENCE):
                assert await process.stdout.readline() == b"ready\n"
            calling = asyncio.create_task(bridge.call("/job", b"hello"))
            async with asyncio.timeout(PATIENCE):
                assert await process.stdout.readline() == b"took hello\n"
            helping = asyncio.create_task(other.run(client_for(broker), 1, stop))
            process.kill()
            response = await calling
            assert (response.status, response.body) == (200, b"hello, attempt 2")
            await bridge.at_rest()
            stop.set()
            await helping
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()


async def test_a_worker_that_loses_its_connection_again_and_again_mixes_up_no_replies(broker, implementation, queue):
    name = queue(f"flapping-{implementation}")
    routes = [Route(name="job", path="/job", queue=name, timeout=30.0, max_attempts=1_000)]

    async def answer(request: Request) -> bytes:
        await asyncio.sleep(0)
        return request.body[::-1]

    worker, client, stop = Worker(), client_for(broker), asyncio.Event()
    worker.handler(name)(answer)
    async with running(settings_for(broker, routes, drain=30.0), implementation) as bridge:
        working = asyncio.create_task(worker.run(client, 4, stop))
        await until(lambda: client.connected)
        nonces = [secrets.token_bytes(8) for _ in range(200)]
        calls = [asyncio.create_task(bridge.call("/job", nonce)) for nonce in nonces]
        for _ in range(5):
            await until(lambda: client.connected)
            replied = worker.counts.replied
            await until(lambda replied=replied: worker.counts.replied > replied or all(one.done() for one in calls))
            client._connection.abort(ConnectionLostError("cut by the test"))
            await until(lambda: not client.connected)
        for nonce, response in zip(nonces, await asyncio.gather(*calls), strict=True):
            assert (response.status, response.body) == (200, nonce[::-1])
        await bridge.at_rest()
        stop.set()
        await working
