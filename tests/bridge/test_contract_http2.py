"""HTTP/2, which Hypercorn speaks: streams of one connection are calls of their own."""

from __future__ import annotations

import asyncio
import json

import h2.config
import h2.connection
import h2.events
import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.settings import Route
from tests.bridge.callers import PATIENCE, until
from tests.bridge.harness import ToldWorker, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_BODY = 100_000


class Streams:
    """One HTTP/2 connection, with prior knowledge."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.answers = {}
        self.bodies = {}
        self.ended = set()
        self.resets = {}
        self.closed = False
        self._reading = None

    @classmethod
    async def connect(cls, port):
        streams = cls(*await asyncio.open_connection("127.0.0.1", port))
        streams._h2.initiate_connection()
        streams._flush()
        streams._reading = asyncio.create_task(streams._read())
        return streams

    def request(self, path="/echo", *, method="POST", headers=(), body=b"", end=True):
        """Begin a request; return its stream's number."""
        number = self._h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        self._h2.send_headers(number, [*pseudo, *headers])
        self.bodies[number] = b""
        self.send(number, body, end=end)
        return number

    def send(self, number, body, *, end=True):
        self._h2.send_data(number, body, end_stream=end)
        self._flush()

    async def pour(self, number, size):
        """Send a body of that size and its end, as fast as the other side lets us."""
        for at in range(0, size, 16_000):
            part = b"x" * min(16_000, size - at)
            await until(lambda part=part: self._h2.local_flow_control_window(number) >= len(part), "room to send")
            self.send(number, part, end=False)
        self.send(number, b"")

    def reset(self, number):
        self._h2.reset_stream(number)
        self._flush()

    async def answer(self, number):
        """Wait for the whole answer; return its headers and its body."""
        await until(lambda: number in self.ended or self.closed, f"the answer of stream {number}")
        assert number in self.ended, "the connection was closed"
        return self.answers[number], self.bodies[number]

    async def _read(self):
        while data := await self._reader.read(65_536):
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    self.answers[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] += event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.ended.add(event.stream_id)
                elif isinstance(event, h2.events.StreamReset):
                    self.resets[event.stream_id] = event.error_code
            self._flush()
        self.closed = True

    def _flush(self):
        self._writer.write(self._h2.data_to_send())

    async def close(self):
        self._reading.cancel()
        self._writer.close()
        await self._writer.wait_closed()


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
