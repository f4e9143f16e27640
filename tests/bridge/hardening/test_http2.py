"""HTTP/2 of a caller who means harm: he ends his own stream or connection, and nothing is left of either."""

from __future__ import annotations

import asyncio

import hpack
import pytest
import pytest_asyncio
from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PriorityFrame, RstStreamFrame

from activemq.testing import FakeBroker
from bridge import asgi, hypercorn_protocol, server
from bridge.endpoints import call
from bridge.settings import Route
from tests.bridge.callers import Caller, until
from tests.bridge.harness import ToldWorker, running, settings_for
from tests.bridge.http2 import Streams

pytestmark = pytest.mark.asyncio(loop_scope="module")

POST = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/echo")]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


class World:
    def __init__(self, bridge, worker):
        self.bridge = bridge
        self.worker = worker

    async def nothing_was_sent(self):
        """The next message at the broker is that of the next call."""
        calling = asyncio.create_task(self.bridge.call(body=b"sentinel"))
        message = await self.worker.request("echo")
        await self.worker.reply(message)
        assert (await calling).status == 200
        assert message.body == b"sentinel"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world():
    route = Route(name="echo", path="/echo", queue="echo", timeout=20.0, max_body=100_000)
    async with FakeBroker() as broker, ToldWorker(broker, "echo") as worker:
        settings = settings_for(broker, [route], implementation="hypercorn", http2=True, body_timeout=1.0)
        async with running(settings, "hypercorn") as bridge:
            yield World(bridge, worker)


@pytest_asyncio.fixture(loop_scope="module")
async def streams(world):
    streams = await Streams.connect(world.bridge.port, strict=False)
    yield streams
    await streams.close()
    await world.bridge.at_rest()
    world.worker.forget()


@pytest_asyncio.fixture(loop_scope="module")
async def sibling(world, streams):
    """A held call of the same connection, which must not notice anything."""
    number = streams.request(body=b"sibling")
    message = await world.worker.request("echo")
    yield number
    await world.worker.reply(message, b"unharmed")
    assert (await streams.answer(number))[1] == b"unharmed"


def begin(streams, headers, *, end=True):
    number = streams.h2.get_next_available_stream_id()
    streams.h2.send_headers(number, headers, end_stream=end)
    streams.bodies[number] = b""
    streams.flush()
    return number


def with_path(path):
    return [*POST[:3], (":path", path)]


# -- a stream that is refused costs no other


REFUSED = {
    "a path that is not ASCII": with_path("/ech\u00f6"),
    "a path with a space": with_path("/echo HTTP/1.1"),
    "CONNECT without a path": [(":method", "CONNECT"), (":authority", "localhost:80")],
    "CONNECT for a websocket": [*POST[1:], (":method", "CONNECT"), (":protocol", "websocket")],
    "a method in lower case": [(":method", "post"), *POST[1:]],
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
async def test_a_stream_that_cannot_be_served_is_refused_alone(world, streams, sibling, headers):
    number = begin(streams, headers)
    await until(lambda: number in streams.ended or number in streams.resets)
    if number in streams.ended:
        assert streams.answers[number][":status"] == "400"
    assert streams.terminated is None


async def test_a_refused_stream_may_still_send_its_body(world, streams, sibling):
    number = begin(streams, with_path("/ech\u00f6"), end=False)
    for _ in range(8):
        streams.raw(DataFrame(number, data=b"x" * 1_000).serialize())
    await until(lambda: number in streams.ended or number in streams.resets)
    assert (await streams.answer(streams.request("/nothing")))[0][":status"] == "404"


async def test_a_name_with_an_underscore_is_refused(world, streams, sibling):
    number = begin(streams, [*POST, ("x_pass", "a")])
    assert (await streams.answer(number))[0][":status"] == "400"


async def test_a_flood_of_small_headers_is_a_431(world, streams, sibling):
    number = begin(streams, [*POST, *((f"x-{n}", "") for n in range(200))])
    assert (await streams.answer(number))[0][":status"] == "431"


# -- what ends the connection


SMUGGLED = {
    "LF in a value": [("x-pass", "a\nhost: b")],
    "CR in a value": [("x-pass", "a\rb")],
    "NUL in a value": [("x-pass", "a\x00b")],
    "CRLF in a name": [("x-pass\r\nhost", "b")],
    "a colon in a name": [("x-pass:a", "b")],
    "Transfer-Encoding": [("transfer-encoding", "chunked")],
    "Connection": [("connection", "x-pass")],
    "an upper-case name": [("X-Pass", "a")],
    "TE": [("te", "gzip")],
    "another host": [("host", "example.com")],
    "two lengths": [("content-length", "0"), ("content-length", "1")],
    "a path twice": [],
}


@pytest.mark.parametrize("name", SMUGGLED)
async def test_a_head_that_would_be_another_in_http_1_is_not_served(world, streams, name):
    head = [*POST, (":path", "/echo")] if name == "a path twice" else [*POST, *SMUGGLED[name]]
    number = begin(streams, head)
    await until(lambda: streams.closed or number in streams.ended or number in streams.resets)
    if number in streams.ended:
        assert streams.answers[number][":status"] in ("400", "403")
    await world.nothing_was_sent()


@pytest.mark.parametrize("said", [4, 6])
async def test_a_body_of_another_length_than_it_says_is_not_served(world, streams, said):
    number = begin(streams, [*POST, ("content-length", str(said))], end=False)
    streams.raw(DataFrame(number, data=b"hello", flags=["END_STREAM"]).serialize())
    await until(lambda: streams.closed or number in streams.ended or number in streams.resets)
    await world.nothing_was_sent()


async def test_a_head_without_end_is_cut(world, streams):
    """CONTINUATION frames without END_HEADERS (CVE-2024-27316 and its kin)."""
    number = streams.h2.get_next_available_stream_id()
    block = hpack.Encoder().encode(POST)
    streams.raw(HeadersFrame(number, data=block, flags=["END_STREAM"]).serialize())
    for _ in range(200):
        streams.raw(ContinuationFrame(number, data=b"\x00\x01a\x7f\x80\x7f" + b"b" * 255).serialize())
    await until(lambda: streams.closed)
    await world.nothing_was_sent()


async def test_a_small_head_that_unpacks_to_a_large_one_is_cut(world, streams):
    encoder = hpack.Encoder()
    number = streams.h2.get_next_available_stream_id()
    block = encoder.encode([*POST, ("x-a", "a" * 3_500)]) + encoder.encode([("x-a", "a" * 3_500)]) * 1_000
    assert len(block) < 16_384
    streams.raw(HeadersFrame(number, data=block, flags=["END_STREAM", "END_HEADERS"]).serialize())
    await until(lambda: streams.closed)
    await world.nothing_was_sent()


async def test_streams_that_are_opened_and_reset_again_and_again_end_the_connection(world, streams):
    """Rapid reset (CVE-2023-44487)."""
    encoder = hpack.Encoder()
    for number in range(1, 4_001, 2):
        streams.raw(HeadersFrame(number, data=encoder.encode(POST), flags=["END_STREAM", "END_HEADERS"]).serialize())
        streams.raw(RstStreamFrame(number, error_code=ErrorCodes.CANCEL).serialize())
    await until(lambda: streams.closed)
    assert streams.terminated == ErrorCodes.ENHANCE_YOUR_CALM
    await world.bridge.at_rest()
    assert world.worker.waiting("echo") < 400


async def test_a_caller_that_leaves_a_hundred_streams_at_once_is_served_again(world, streams):
    numbers = [streams.request(body=b"x") for _ in range(100)]
    for _ in numbers:
        await world.worker.request("echo")
    for number in numbers:
        streams.reset(number)
    await world.bridge.at_rest()
    number = streams.request(body=b"again")
    await world.worker.reply(await world.worker.request("echo"), b"served")
    assert (await streams.answer(number))[1] == b"served"


async def test_a_flood_of_priorities_leaves_nothing(world, streams):
    for number in range(1, 6_001, 2):
        streams.raw(PriorityFrame(number, depends_on=0, stream_weight=1).serialize())
    number = streams.request("/nothing")
    await until(lambda: streams.closed or number in streams.ended)
    await world.nothing_was_sent()


async def test_more_streams_than_may_be_open_are_not_served(world, streams):
    numbers = [begin(streams, POST, end=False) for _ in range(100)]
    streams.raw(
        HeadersFrame(
            numbers[-1] + 2, data=hpack.Encoder().encode(POST), flags=["END_STREAM", "END_HEADERS"]
        ).serialize()
    )
    await until(lambda: streams.closed)
    await world.bridge.at_rest()


# -- what does not read


@pytest.mark.parametrize("room", [65_535, 0], ids=["the answer is read", "the answer is not read"])
async def test_a_body_that_goes_on_behind_its_answer_holds_up_no_other_stream(world, monkeypatch, room):
    """More of it than is thrown away before the answer, and than is kept for a reader."""
    monkeypatch.setattr(call, "DISCARD_AT_MOST", 20_000)
    monkeypatch.setattr(hypercorn_protocol, "STALLED_FOR", 0.2)
    streams = await Streams.connect(world.bridge.port)
    streams.h2.update_settings({4: room})
    number = begin(streams, with_path("/nothing"), end=False)
    for _ in range(60):
        streams.send(number, b"z" * 1_000, end=False)
    await until(lambda: number in streams.ended or number in streams.resets)
    streams.h2.update_settings({4: 65_535})
    streams.flush()
    other = streams.request("/nothing")
    assert (await streams.answer(other))[0][":status"] == "404"
    await streams.close()


async def test_a_reader_who_gives_no_room_is_given_up(world, monkeypatch):
    monkeypatch.setattr(asgi, "PART_WITHIN", 0.2)
    streams = await Streams.connect(world.bridge.port)
    streams.h2.update_settings({4: 0})  # INITIAL_WINDOW_SIZE
    streams.flush()
    number = streams.request(body=b"x")
    await world.worker.reply(await world.worker.request("echo"), b"y" * 1_000_000)
    await until(lambda: number in streams.resets)
    await world.bridge.at_rest()
    await streams.close()


@pytest.mark.parametrize("size", [1, 10_000, asgi.PART])
async def test_a_reader_who_gives_no_room_for_a_small_answer_is_given_up_too(world, monkeypatch, size):
    monkeypatch.setattr(hypercorn_protocol, "STALLED_FOR", 0.2)
    streams = await Streams.connect(world.bridge.port)
    streams.h2.update_settings({4: 0})
    streams.flush()
    number = streams.request(body=b"x")
    await world.worker.reply(await world.worker.request("echo"), b"y" * size)
    await until(lambda: number in streams.resets)
    await world.bridge.at_rest()
    await streams.close()


async def test_a_connection_that_ends_before_its_answer_was_sent_leaves_nothing(world):
    streams = await Streams.connect(world.bridge.port)
    streams.h2.update_settings({4: 0})
    streams.flush()
    number = streams.request(body=b"x")
    await world.worker.reply(await world.worker.request("echo"), b"y" * 10_000)
    await until(lambda: number in streams.answers)
    await streams.close()
    await world.bridge.at_rest()


@pytest.mark.parametrize("reset", [False, True], ids=["no stream", "a stream that was reset"])
async def test_a_connection_on_which_nothing_is_open_is_closed_in_time(monkeypatch, reset):
    monkeypatch.setattr(server, "KEEP_ALIVE", 1.0)
    route = Route(name="echo", path="/echo", queue="echo")
    async with FakeBroker() as broker, ToldWorker(broker, "echo") as worker:
        settings = settings_for(broker, [route], implementation="hypercorn", http2=True)
        async with running(settings, "hypercorn") as bridge:
            streams = await Streams.connect(bridge.port)
            if reset:
                number = streams.request(body=b"x")
                await worker.request("echo")
                streams.reset(number)
            await until(lambda: streams.closed)
            await streams.close()


# -- without http2


async def test_without_http2_in_the_settings_there_is_none():
    route = Route(name="echo", path="/echo", queue="echo")
    async with FakeBroker() as broker:
        settings = settings_for(broker, [route], implementation="hypercorn")
        async with running(settings, "hypercorn") as bridge, await Caller.connect(bridge.port) as caller:
            await caller.send(PREFACE)
            assert (await caller.response()).status == 400
            assert await caller.ended() == b""


async def test_a_preface_with_headers_is_none(world):
    async with await Caller.connect(world.bridge.port) as caller:
        await caller.send(b"PRI * HTTP/2.0\r\nUpgrade: h2c\r\n\r\nSM\r\n\r\n")
        assert b" 101 " not in await caller.ended()
