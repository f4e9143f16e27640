"""What a worker says in headers can never become another header, or another response, on any way to the caller."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.settings import Route
from tests.bridge.callers import Caller, request
from tests.bridge.harness import ToldWorker, running, settings_for
from tests.bridge.http2 import Streams

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROPERTIES = ("content_type", "http_header_x_back", "http_header_location")
BAD = {
    "CRLF": "a\r\nset-cookie: stolen=1",
    "a second response": "a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "LF": "a\nset-cookie: stolen=1",
    "CR": "a\rset-cookie: stolen=1",
    "escape": "a\x1bb",
    "vertical tab": "a\x0bb",
    "delete": "a\x7fb",
    "CR at the end": "a\r",
    "LF at the beginning": "\na",
}
GOOD = {
    "letters that are not ASCII": ("\u00e4\u20ac", "\u00e4\u20ac".encode()),
    # What some decoders cut down to CR and LF (CVE-2016-2216 and its kin).
    "letters that end in CR and LF": ("a\u010d\u010ab", "a\u010d\u010ab".encode()),
    "line separators of Unicode": ("a\u2028b\u2029c", "a\u2028b\u2029c".encode()),
    "a tab": ("a\tb", b"a\tb"),
}


class World:
    def __init__(self, bridge, worker, protocol):
        self.bridge = bridge
        self.worker = worker
        self.protocol = protocol

    async def call(self, **reply):
        """Make a call that is answered with these properties; return status, headers and body."""
        made = self._by_streams() if self.protocol == "h2" else self._by_connection()
        calling = asyncio.create_task(made)
        message = await self.worker.request("split")
        await self.worker.reply(message, b"body", **reply)
        return await calling

    async def _by_streams(self):
        streams = await Streams.connect(self.bridge.port)
        headers, body = await streams.answer(streams.request("/split"))
        assert not streams.closed
        await streams.close()
        return int(headers[":status"]), headers, body

    async def _by_connection(self):
        async with await Caller.connect(self.bridge.port) as caller:
            await caller.send(request("/split"))
            response = await caller.response()
            # The next answer on this connection is that of the next call: nothing came in between.
            await caller.send(request("/nothing"))
            assert (await caller.response()).name == "no-route"
        return response.status, dict(response.headers), response.body


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["uvicorn", "hypercorn", "h2"])
async def world(request):
    implementation = "uvicorn" if request.param == "uvicorn" else "hypercorn"
    route = Route(name="split", path="/split", queue="split", timeout=20.0, pass_reply_headers=("x-back", "location"))
    async with FakeBroker() as broker, ToldWorker(broker, "split") as worker:
        settings = settings_for(broker, [route], implementation=implementation, http2=request.param == "h2")
        async with running(settings, implementation) as bridge:
            yield World(bridge, worker, request.param)


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
async def test_a_control_character_makes_it_a_bad_reply(world, name, value):
    status, headers, body = await world.call(**{name: value})
    assert (status, json.loads(body)["type"]) == (502, "/problems/bad-reply")
    assert "set-cookie" not in headers
    assert b"stolen" not in body


@pytest.mark.parametrize(("value", "wire"), GOOD.values(), ids=GOOD)
async def test_what_is_no_control_character_is_one_header(world, value, wire):
    status, headers, body = await world.call(http_header_x_back=value)
    assert (status, body) == (200, b"body")
    came = headers["x-back"]
    assert came.encode("utf-8" if world.protocol == "h2" else "latin-1") == wire
    assert "set-cookie" not in headers


@pytest.mark.parametrize(
    "name",
    ["http_header_set_cookie", "http_header_transfer_encoding", "http_header_content_length", "http_header_connection",
     "http_header_x_other", "http_header_X_Back", "http_header_"],
)  # fmt: skip
async def test_no_header_passes_that_the_route_does_not_name(world, name):
    status, headers, body = await world.call(**{name: "7"})
    assert (status, body) == (200, b"body")
    assert headers["content-length"] == "4"
    assert not {"set-cookie", "transfer-encoding", "connection", "x-other", "x-back"} & set(headers)


@pytest.mark.parametrize("status", ["200 OK\r\nset-cookie: stolen=1", "200\n", "2 00", "\u0662\u0660\u0660", "+200"])
async def test_a_status_is_three_digits_or_a_bad_reply(world, status):
    answered, headers, body = await world.call(http_status=status)
    assert (answered, json.loads(body)["type"]) == (502, "/problems/bad-reply")
    assert "set-cookie" not in headers
