"""Callers who are slow on purpose, or too many: each is given up in time, and what it held is given back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import pytest_asyncio

from bridge import asgi, hypercorn_protocol, server, uvicorn_protocol
from bridge.settings import Route
from tests.bridge.callers import PATIENCE, Caller, call, request, until
from tests.bridge.harness import ToldWorker, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGE = b"y" * (3 << 20)
HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"


class World:
    def __init__(self, bridge, worker, queue):
        self.bridge = bridge
        self.worker = worker
        self.queue = queue

    async def answer(self, body):
        await self.worker.reply(await self.worker.request(self.queue), body)

    async def serves(self):
        calling = asyncio.create_task(self.bridge.call(body=b"x"))
        await self.answer(b"served")
        assert (await calling).body == b"served"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(carrier, implementation, queue):
    route = Route(name="echo", path="/echo", queue=queue("slow"), timeout=20.0)
    async with ToldWorker(carrier, queue("slow")) as worker:
        settings = settings_for(carrier, [route], head_timeout=0.3, max_connections=20)
        async with running(settings, implementation) as bridge:
            yield World(bridge, worker, queue("slow"))


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    yield
    await world.bridge.at_rest()
    world.worker.forget()


# -- heads


@pytest.mark.parametrize("part", [b"P", HEAD[:20], HEAD, HEAD + b"Content-Length: 5\r\n"])
async def test_a_head_that_does_not_end_is_a_408(world, part):
    async with await Caller.connect(world.bridge.port) as caller:
        await caller.send(part)
        assert (await caller.response()).status == 408
        assert await caller.ended() == b""


async def test_a_head_that_comes_byte_by_byte_is_a_408(world):
    """Slowloris."""
    async with await Caller.connect(world.bridge.port) as caller:

        async def drip():
            await caller.send(HEAD)
            while True:
                await caller.send(b"X-A: b\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        try:
            assert (await caller.response()).status == 408
        finally:
            dripping.cancel()
            await asyncio.wait([dripping])


async def test_a_head_that_does_not_end_behind_a_whole_request_is_a_408(world):
    async with await Caller.connect(world.bridge.port) as caller:
        await caller.send(request("/echo", b"x"))
        await world.answer(b"first")
        assert (await caller.response()).body == b"first"
        await caller.send(HEAD)
        assert (await caller.response()).status == 408


async def test_a_head_in_parts_that_ends_in_time_is_served_and_so_is_what_takes_longer(world):
    async with await Caller.connect(world.bridge.port) as caller:
        for part in (HEAD, b"Content-Length: 1\r\n", b"\r\nx"):
            await caller.send(part)
            await asyncio.sleep(0.01)
        message = await world.worker.request(world.queue)
        await asyncio.sleep(0.4)  # longer than a head may take
        await world.worker.reply(message, b"served")
        assert (await caller.response()).body == b"served"


async def test_a_held_call_does_not_end_because_its_head_came_in_parts_and_another_request_behind_it(world):
    async with await Caller.connect(world.bridge.port) as caller:
        await caller.send(HEAD)
        await asyncio.sleep(0.01)  # else both are one part
        await caller.send(b"Content-Length: 1\r\n\r\nx" + request("/nothing", b"x"))
        message = await world.worker.request(world.queue)
        await asyncio.sleep(0.4)  # longer than a head may take
        await world.worker.reply(message, b"served")
        assert (await caller.response()).body == b"served"
        assert (await caller.response()).name == "no-route"


ANSWERED = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "then"),
    [(b"", b"\r\n"), (request("/nothing", b"x"), b"\r\n"), (ANSWERED, b"x")],
    ids=["a blank line", "a blank line behind a request", "a part of a body that nobody needs"],
)
async def test_what_begins_no_request_does_not_keep_a_connection(carrier, implementation, monkeypatch, first, then):
    monkeypatch.setattr(server, "KEEP_ALIVE", 1.0)
    async with (
        running(settings_for(carrier, []), implementation) as bridge,
        await Caller.connect(bridge.port) as caller,
    ):
        if first:
            await caller.send(first)
            assert (await caller.response()).name == "no-route"
        with suppress(ConnectionError):  # Hypercorn does not wait for the rest of a body
            await caller.send(then)
            await caller.ended()


# -- readers


async def test_a_reader_who_takes_nothing_of_a_whole_answer_is_given_up(world, monkeypatch):
    monkeypatch.setattr(asgi, "PART_WITHIN", 0.2)
    monkeypatch.setattr(hypercorn_protocol, "GIVEN_UP_AFTER", 0.2)
    monkeypatch.setattr(uvicorn_protocol, "GIVEN_UP_AFTER", 0.2)
    admission = world.bridge.bridge.admission
    async with await Caller.connect(world.bridge.port, receive_buffer=4_096) as caller:
        await caller.send(request("/echo", b"x"))
        await world.answer(LARGE)
        await until(lambda: admission.memory >= len(LARGE), "what is not taken is counted")
        await world.bridge.at_rest()
        assert len(await caller.ended()) < len(LARGE)
    await world.serves()


async def test_a_connection_that_takes_nothing_is_given_up_whatever_is_sent_on_it(world, monkeypatch):
    """Also where nobody waits for its reader: the last word is then the transport's."""
    monkeypatch.setattr(hypercorn_protocol, "STALLED_FOR", 0.2)
    monkeypatch.setattr(uvicorn_protocol, "STALLED_FOR", 0.2)
    async with await Caller.connect(world.bridge.port, receive_buffer=4_096) as caller:
        await caller.send(request("/echo", b"x"))
        await world.answer(LARGE)
        await world.bridge.at_rest()
        assert len(await caller.ended()) < len(LARGE)


async def test_a_reader_who_takes_some_of_it_again_and_again_has_it_whole(world, monkeypatch):
    monkeypatch.setattr(asgi, "PART_WITHIN", 2.0)
    async with await Caller.connect(world.bridge.port, receive_buffer=65_536) as caller:
        await caller.send(request("/echo", b"x"))
        await world.answer(LARGE)
        await caller.raw_until(b"\r\n\r\n")
        for _ in range(len(LARGE) // 65_536):
            assert await caller.raw_exactly(65_536) == b"y" * 65_536
            await asyncio.sleep(0.001)
    await world.serves()


@pytest.mark.parametrize("size", [asgi.PART - 1, asgi.PART, asgi.PART + 1, 2 * asgi.PART, 2 * asgi.PART + 1])
async def test_an_answer_in_parts_is_the_same_answer(world, size):
    calling = asyncio.create_task(world.bridge.call(body=b"x"))
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    await world.answer(body)
    response = await calling
    assert response.body == body
    assert response.get("content-length") == str(size)
    assert response.get("transfer-encoding") is None


# -- connections


async def test_one_connection_too_many_is_closed_and_the_others_are_not(world):
    callers = [await Caller.connect(world.bridge.port) for _ in range(20)]
    try:
        await callers[-1].send(request("/nothing", b"x"))
        assert (await callers[-1].response()).name == "no-route"
        async with await Caller.connect(world.bridge.port) as late:
            assert await late.ended() == b""
        await callers[0].send(request("/nothing", b"x"))
        assert (await callers[0].response()).name == "no-route"
    finally:
        for caller in callers:
            await caller.close()
    async with asyncio.timeout(PATIENCE):  # those that were closed are gone in a moment
        while not await is_taken(world.bridge.port):  # noqa: ASYNC110 - what is looked at cannot tell
            await asyncio.sleep(0.01)
    await world.serves()


async def is_taken(port):
    try:
        return (await call(port, "/nothing")).name == "no-route"
    except (ConnectionError, EOFError):
        return False
