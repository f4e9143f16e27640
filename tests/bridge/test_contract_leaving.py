"""Callers that leave, stall or read slowly: nothing of them is kept, and nobody else notices."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.settings import Route
from tests.bridge.callers import Caller, chunked, request, until
from tests.bridge.harness import ToldWorker, running, settings_for

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.every_broker]

LEAVE = {"closes": Caller.close, "resets": Caller.reset}
MIB = 1 << 20


class World:
    def __init__(self, bridge, worker, broker):
        self.bridge = bridge
        self.worker = worker
        self.broker = broker

    async def caller(self):
        return await Caller.connect(self.bridge.port)

    async def served(self, body=b"next"):
        calling = asyncio.create_task(self.bridge.call(body=body))
        message = await self.worker.request("echo")
        assert message.body == body
        await self.worker.reply(message, body)
        assert (await calling).body == body


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(implementation):
    route = Route(name="echo", path="/echo", queue="echo", timeout=60.0, max_body=8 * MIB, max_reply=8 * MIB)
    async with FakeBroker() as broker:
        settings = settings_for(broker, [route], body_timeout=30.0)
        settings = settings.model_copy(update={"broker": settings.broker.model_copy(update={"max_frame": 16 * MIB})})
        async with ToldWorker(broker, "echo") as worker, running(settings, implementation) as bridge:
            yield World(bridge, worker, broker)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world, caplog):
    yield
    await world.bridge.at_rest()
    await world.served()
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
async def test_a_caller_that_leaves_while_it_is_held(world, leave):
    caller = await world.caller()
    await caller.send(request("/echo", b"held"))
    message = await world.worker.request("echo")
    await world.bridge.held(1)
    await leave(caller)
    await world.bridge.at_rest()
    strays = world.bridge.bridge.exchange.counts.stray_replies
    await world.worker.reply(message, b"for nobody")
    await until(lambda: world.bridge.bridge.exchange.counts.stray_replies == strays + 1)


async def test_a_caller_that_says_it_will_send_nothing_more_has_left(world):
    """RFC 9112, 9.6 lets a server take a half-closed connection for a closed one; both HTTP servers do."""
    caller = await world.caller()
    await caller.send(request("/echo", b"held"))
    await world.worker.request("echo")
    await world.bridge.held(1)
    caller.half_close()
    await world.bridge.at_rest()
    await caller.close()


PARTS = {
    "nothing sent": b"",
    "half a head": b"POST /echo HTTP/1.1\r\nHost: loc",
    "a head": request("/echo", body=None, headers=(("Content-Length", "10"),)),
    "half a body": request("/echo", body=None, headers=(("Content-Length", "10"),)) + b"hello",
    "a chunk": request("/echo", body=None, headers=(("Transfer-Encoding", "chunked"),)) + chunked(b"a", end=False),
    "much of a body": request("/echo", body=None, headers=(("Content-Length", str(MIB)),)) + b"x" * 600_000,
}


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_a_caller_that_leaves_in_the_middle_of_its_request(world, part, leave):
    sent = len(world.broker.received)
    caller = await world.caller()
    await caller.send(part)
    if len(part) > 100_000 or part.endswith((b"\r\n\r\n", b"hello", b"a\r\n")):
        await until(lambda: world.bridge.bridge.admission.held == 1)
    await leave(caller)
    await world.bridge.at_rest()
    assert not [frame for frame in world.broker.received[sent:] if "reply-to" in frame.headers]


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
async def test_a_caller_that_leaves_as_its_reply_comes(world, leave):
    caller = await world.caller()
    await caller.send(request("/echo", b"held"))
    message = await world.worker.request("echo")
    await asyncio.gather(world.worker.reply(message, b"x" * MIB), leave(caller))
    await world.bridge.at_rest()


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
async def test_a_caller_that_leaves_before_it_is_watched(world, leave):
    """It is looked for only when the call is a tenth of a second old: until then it costs its place, no more."""
    callers = [await world.caller() for _ in range(20)]
    for caller in callers:
        await caller.send(request("/echo", b"at once"))
        await leave(caller)
    await world.bridge.at_rest()
    world.worker.forget()


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
async def test_hundreds_that_leave_at_once(world, leave):
    callers = [await world.caller() for _ in range(300)]
    for caller in callers:
        await caller.send(request("/echo", b"held"))
    for _ in callers:
        await world.worker.request("echo")
    await world.bridge.held(300)
    staying = asyncio.create_task(world.bridge.call(body=b"stays"))
    message = await world.worker.request("echo")
    for caller in callers:
        await leave(caller)
    await world.bridge.held(1)
    await world.worker.reply(message, b"unharmed")
    assert (await staying).body == b"unharmed"


async def test_a_second_request_on_the_connection_waits_for_the_first(world):
    async with await world.caller() as caller:
        await caller.send(request("/echo", b"first") + request("/echo", b"second"))
        first = await world.worker.request("echo")
        assert first.body == b"first"
        await world.bridge.held(1)
        await world.worker.reply(first, b"1")
        assert (await caller.response()).body == b"1"
        second = await world.worker.request("echo")
        assert second.body == b"second"
        await world.worker.reply(second, b"2")
        assert (await caller.response()).body == b"2"


async def test_a_slow_reader_holds_nobody_up_and_gets_all_in_the_end(world):
    body = bytes(range(256)) * (8 * MIB // 256)
    slow = await Caller.connect(world.bridge.port, receive_buffer=4_096)
    await slow.send(request("/echo", b"slow"))
    message = await world.worker.request("echo")
    await world.worker.reply(message, body)
    for number in range(20):
        await world.served(b"%d" % number)
    assert (await slow.response()).body == body
    await slow.close()


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
async def test_a_slow_reader_that_leaves_in_the_middle(world, leave):
    slow = await Caller.connect(world.bridge.port, receive_buffer=4_096)
    await slow.send(request("/echo", b"slow"))
    message = await world.worker.request("echo")
    await world.worker.reply(message, b"x" * 8 * MIB)
    assert (await slow.raw_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await leave(slow)
    await world.bridge.at_rest()
