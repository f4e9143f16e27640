"""HTTP/2, which Hypercorn speaks: streams of one connection are calls of their own."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.settings import Route
from tests.bridge.callers import PATIENCE, until
from tests.bridge.harness import ToldWorker, running, settings_for
from tests.bridge.http2 import Streams

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_BODY = 100_000


class World:
    def __init__(self, bridge, worker):
        self.bridge = bridge
        self.worker = worker
        self.streams = None

    async def served(self, number):
        message = await self.worker.request("echo")
        await self.worker.reply(message, message.body + b"!")
        headers, body = await self.streams.answer(number)
        assert headers[":status"] == "200"
        return body

    async def refused(self, number, status, name):
        headers, body = await self.streams.answer(number)
        problem = json.loads(body)
        assert (headers[":status"], problem["type"], problem["ran"]) == (str(status), f"/problems/{name}", "no")
        assert "connection" not in headers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving():
    route = Route(name="echo", path="/echo", queue="echo", timeout=20.0, max_body=MAX_BODY, accepts=("text/plain",))
    any_type = Route(name="any", path="/any", queue="echo", timeout=20.0, max_body=MAX_BODY)
    async with FakeBroker() as broker, ToldWorker(broker, "echo") as worker:
        settings = settings_for(broker, [route, any_type], implementation="hypercorn", http2=True, body_timeout=1.0)
        async with running(settings, "hypercorn") as bridge:
            yield World(bridge, worker)


@pytest_asyncio.fixture(loop_scope="module")
async def world(serving):
    """A connection with a held call on it, which must not notice anything."""
    serving.streams = await Streams.connect(serving.bridge.port)
    other = serving.streams.request("/any", body=b"other")
    message = await serving.worker.request("echo")
    yield serving
    await serving.worker.reply(message, b"unharmed")
    assert (await serving.streams.answer(other))[1] == b"unharmed"
    await serving.streams.close()
    await serving.bridge.at_rest()


async def test_calls_over_one_connection_are_answered_in_any_order(world):
    numbers = [world.streams.request("/any", body=b"%d" % number) for number in range(10)]
    messages = [await world.worker.request("echo") for _ in numbers]
    for message in reversed(messages):
        await world.worker.reply(message, message.body * 2)
    for at, number in enumerate(numbers):
        assert (await world.streams.answer(number))[1] == b"%d" % at * 2


async def test_a_body_needs_no_length_and_may_come_in_parts(world):
    number = world.streams.request("/any", body=b"ab", end=False)
    world.streams.send(number, b"c")
    assert await world.served(number) == b"abc!"


async def test_without_a_body(world):
    assert await world.served(world.streams.request("/any")) == b"!"


REFUSALS = {
    "no route": ("/nothing", (), 404, "no-route"),
    "proxy": ("/any", (("via", "1.1 proxy"),), 403, "forbidden"),
    "media type": ("/echo", (("content-type", "a/b"),), 415, "unsupported-media-type"),
    "two types": ("/any", (("content-type", "a/b"), ("content-type", "a/b")), 400, "invalid-request"),
    "too large": ("/any", (("content-length", str(MAX_BODY + 1)),), 413, "body-too-large"),
}


@pytest.mark.parametrize(("path", "headers", "status", "name"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("size", [0, 1, 10_000])
async def test_a_refusal_whose_body_is_still_to_come_costs_no_other_stream(world, path, headers, status, name, size):
    number = world.streams.request(path, headers=headers, end=False)
    # What is answered after it on the same connection shows that the head alone has arrived.
    await world.refused(world.streams.request("/nothing"), 404, "no-route")
    await world.streams.pour(number, MAX_BODY + 1 if name == "body-too-large" else size)
    await world.refused(number, status, name)


async def test_a_body_over_the_limit_without_a_length_costs_no_other_stream(world):
    number = world.streams.request("/any", end=False)
    await world.streams.pour(number, MAX_BODY + 1)
    await world.refused(number, 413, "body-too-large")


async def test_a_stream_that_is_reset_ends_its_own_call_only(world):
    number = world.streams.request("/any", body=b"leaves")
    await world.worker.request("echo")
    await world.bridge.held(2)
    world.streams.reset(number)
    await world.bridge.held(1)


async def test_a_stream_that_is_reset_during_its_body_sends_nothing(world):
    number = world.streams.request("/any", body=b"part", end=False)
    await until(lambda: world.bridge.bridge.admission.held == 2)
    world.streams.reset(number)
    await until(lambda: world.bridge.bridge.admission.held == 1)
    assert world.worker.waiting("echo") == 0


async def test_a_connection_that_is_closed_ends_all_of_its_calls(serving):
    streams = await Streams.connect(serving.bridge.port)
    for _ in range(5):
        streams.request("/any")
        await serving.worker.request("echo")
    await serving.bridge.held(5)
    await streams.close()
    async with asyncio.timeout(PATIENCE):
        await serving.bridge.at_rest()
