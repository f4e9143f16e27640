"""Requests that two HTTP parsers may read differently: each is refused, or it is one request for all of them.

Behind a proxy that reads one differently, what its caller hides in a body would be the next caller's request.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.bridge.callers import Caller
from tests.bridge.refusing import refusing

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = b"Host: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
FIVE = b"Content-Length: 5\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
HIDDEN = b"POST /echo?hidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


def post(headers: bytes, body: bytes = b"hello", line: bytes = POST) -> bytes:
    return line + HOST + headers + b"\r\n" + body


def in_chunks(body: bytes) -> bytes:
    return post(CHUNKED, body)


REFUSED = {
    # Lengths
    "length beside chunked": post(FIVE + CHUNKED, HELLO),
    "chunked beside length": post(CHUNKED + FIVE, HELLO),
    "the same length twice": post(FIVE + FIVE),
    "the same length twice in one field": post(b"Content-Length: 5, 5\r\n"),
    "two lengths": post(FIVE + b"Content-Length: 6\r\n", b"hello!"),
    "two lengths in one field": post(b"Content-Length: 5, 6\r\n"),
    "a length with a plus": post(b"Content-Length: +5\r\n"),
    "a negative length": post(b"Content-Length: -5\r\n"),
    "a length in hexadecimal": post(b"Content-Length: 0x5\r\n"),
    "a length with a space within": post(b"Content-Length: 1 0\r\n"),
    "a length with an underscore": post(b"Content-Length: 0_5\r\n"),
    "an empty length": post(b"Content-Length: \r\n", b""),
    "a length with a vertical tab": post(b"Content-Length: 5\x0b\r\n"),
    "a length in Arabic digits": post("Content-Length: \u0665\r\n".encode()),
    "a space before the length's colon": post(b"Content-Length : 5\r\n"),
    # Transfer codings
    "another transfer coding": post(b"Transfer-Encoding: gzip\r\n" + FIVE),
    "xchunked": post(b"Transfer-Encoding: xchunked\r\n", HELLO),
    "identity": post(b"Transfer-Encoding: identity\r\n" + FIVE),
    "chunked twice in one field": post(b"Transfer-Encoding: chunked, chunked\r\n", HELLO),
    "chunked in two fields": post(CHUNKED + CHUNKED, HELLO),
    "chunked, then identity": post(b"Transfer-Encoding: chunked, identity\r\n", HELLO),
    "chunked after a comma": post(b"Transfer-Encoding: ,chunked\r\n", HELLO),
    "chunked before a comma": post(b"Transfer-Encoding: chunked,\r\n", HELLO),
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"\r\n', HELLO),
    "chunked with a parameter": post(b"Transfer-Encoding: chunked;q=1\r\n", HELLO),
    "chunked after a vertical tab": post(b"Transfer-Encoding:\x0bchunked\r\n", HELLO),
    "chunked before a form feed": post(b"Transfer-Encoding: chunked\x0c\r\n", HELLO),
    "chunked before a NUL": post(b"Transfer-Encoding: chunked\x00\r\n", HELLO),
    "no coding at all": post(b"Transfer-Encoding:\r\n" + FIVE),
    "a space before the coding's colon": post(b"Transfer-Encoding : chunked\r\n", HELLO),
    "a tab before the coding's colon": post(b"Transfer-Encoding\t: chunked\r\n", HELLO),
    "a name that looks like Transfer-Encoding": post("Transfer-Encod\u0131ng: chunked\r\n".encode() + FIVE),
    "chunked of HTTP/1.0": post(CHUNKED, HELLO, b"POST /echo HTTP/1.0\r\n"),
    # Chunks
    "a chunk's size with 0x": in_chunks(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk's size with a plus": in_chunks(b"+5\r\nhello\r\n0\r\n\r\n"),
    "a negative chunk": in_chunks(b"-5\r\nhello\r\n0\r\n\r\n"),
    "a chunk's size with an underscore": in_chunks(b"0_5\r\nhello\r\n0\r\n\r\n"),
    "a space before a chunk's size": in_chunks(b" 5\r\nhello\r\n0\r\n\r\n"),
    "a space after a chunk's size": in_chunks(b"5 \r\nhello\r\n0\r\n\r\n"),
    "no chunk's size": in_chunks(b"\r\nhello\r\n0\r\n\r\n"),
    "a chunk's size beyond 64 bits": in_chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "a chunk longer than it says": in_chunks(b"5\r\nhelloXX0\r\n\r\n"),
    "a chunk without its end": in_chunks(b"5\r\nhello0\r\n\r\n"),
    "LF after a chunk's size": in_chunks(b"5\nhello\r\n0\r\n\r\n"),
    "LF after a chunk": in_chunks(b"5\r\nhello\n0\r\n\r\n"),
    "LF after the last chunk's size": in_chunks(b"5\r\nhello\r\n0\n\r\n"),
    "LF after the last chunk": in_chunks(b"5\r\nhello\r\n0\r\n\n"),
    "LF in a chunk's extension": in_chunks(b"5;a\nhello\r\n0\r\n\r\n"),
    "CR in a chunk's extension": in_chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    # Lines
    "a folded header": post(b"X-Pass: a\r\n b\r\n" + FIVE),
    "a header folded with a tab": post(b"X-Pass: a\r\n\tb\r\n" + FIVE),
    "a folded Transfer-Encoding": post(b"Transfer-Encoding:\r\n chunked\r\n", HELLO),
    "a folded first line": POST + b" X-Pass: a\r\n" + HOST + FIVE + b"\r\nhello",
    "LF only": post(FIVE).replace(b"\r\n", b"\n"),
    "LF after one header": POST + HOST + b"X-Pass: a\n" + FIVE + b"\r\nhello",
    "LF after the request line": POST.replace(b"\r", b"") + HOST + FIVE + b"\r\nhello",
    "LF for the empty line": POST + HOST + FIVE + b"\nhello",
    "LF and CR for the empty line": POST + HOST + FIVE + b"\n\rhello",
    "CR within a header": post(b"X-Pass: a\rb\r\n" + FIVE),
    "CR after a header": POST + HOST + b"X-Pass: a\r" + FIVE + b"\r\nhello",
    "CR before CRLF": post(b"X-Pass: a\r\r\n" + FIVE),
    # Names
    "Content_Length": post(b"Content_Length: 5\r\n", b""),
    "Transfer_Encoding": post(b"Transfer_Encoding: chunked\r\n" + FIVE),
    "X_Pass beside X-Pass": post(b"X-Pass: a\r\nX_Pass: b\r\n" + FIVE),
    "X_Api_Key": post(b"X_Api_Key: a\r\n" + FIVE),
    "a space before a name": post(b" " + FIVE),
    "a header without a colon": post(b"Content-Length 5\r\n"),
    "a header without a name": post(b": a\r\n" + FIVE),
    "a NUL in a name": post(b"X\x00Y: a\r\n" + FIVE),
    "a bracket in a name": post(b"X(Y: a\r\n" + FIVE),
    "a name that is not ASCII": post("X\u00e4: a\r\n".encode() + FIVE),
    # Request lines
    "two hosts": post(HOST + FIVE),
    "HTTP/0.9": b"POST /echo\r\n\r\n",
    "HTTP/1.2": post(FIVE, line=b"POST /echo HTTP/1.2\r\n"),
    "HTTP/1.10": post(FIVE, line=b"POST /echo HTTP/1.10\r\n"),
    "HTTP/2.0 as if it were 1.1": post(FIVE, line=b"POST /echo HTTP/2.0\r\n"),
    "a tab in the request line": post(FIVE, line=b"POST\t/echo\tHTTP/1.1\r\n"),
    "more in the request line": post(FIVE, line=b"POST /echo HTTP/1.1 x\r\n"),
    "a method that is no token": post(FIVE, line=b"PO(ST /echo HTTP/1.1\r\n"),
    "a path that is not ASCII": post(FIVE, line="POST /ech\u00f6 HTTP/1.1\r\n".encode()),
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    # Floods
    "more than 100 headers": post(b"X-A: b\r\n" * 99 + FIVE),
    "5,000 headers": post(b"X-A: b\r\n" * 5_000 + FIVE),
}

NOWHERE = {
    "an absolute target": b"POST http://localhost/echo HTTP/1.1\r\n",
    "an absolute target of another host": b"POST http://example.com/echo HTTP/1.1\r\n",
    "a fragment": b"POST /echo#part HTTP/1.1\r\n",
}

SERVED = {
    "100 headers": post(b"X-A: b\r\n" * 98 + FIVE),
    "a length with zeros before it": post(b"Content-Length: 005\r\n"),
    "chunked in any case": post(b"Transfer-Encoding: ChUnKeD\r\n", HELLO),
    "a chunk with an extension": in_chunks(b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    "a chunk's size with zeros before it": in_chunks(b"0005\r\nhello\r\n0\r\n\r\n"),
    "a trailer": in_chunks(b"5\r\nhello\r\n0\r\nX-Pass: trailer\r\n\r\n"),
    "a trailer that would be a proxy's word": in_chunks(b"5\r\nhello\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"),
    "a connection that names a header": post(b"Connection: Content-Length\r\n" + FIVE),
}

UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    "a websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "anything": b"Connection: upgrade\r\nUpgrade: anything\r\n",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(carrier, implementation, queue):
    async with refusing(carrier, implementation, queue) as world:
        yield world


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    world.worker.forget()
    yield
    await world.bridge.at_rest()


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
async def test_it_is_refused_and_what_is_hidden_in_it_is_no_request(world, data):
    async with await Caller.connect(world.port) as caller:
        await caller.send(data + HIDDEN)
        response = await caller.response()
        assert response.status in (400, 431, 501)
        assert await caller.ended() == b""
    await world.nothing_was_sent()


@pytest.mark.parametrize("line", NOWHERE.values(), ids=NOWHERE)
async def test_a_target_that_is_no_path_is_nowhere(world, line):
    async with await Caller.connect(world.port) as caller:
        await caller.send(post(FIVE, line=line))
        assert (await caller.response()).name == "no-route"
    await world.nothing_was_sent()


@pytest.mark.parametrize("data", SERVED.values(), ids=SERVED)
async def test_it_is_one_request_and_the_next_one_begins_behind_it(world, data):
    async with await Caller.connect(world.port) as caller:
        await caller.send(data + HIDDEN)
        for body, target in ((b"hello", "/echo"), (b"", "/echo?hidden")):
            message = await world.worker.request(world.queue)
            assert (message.body, message.get("http_target")) == (body, target)
            assert message.get("http_header_x_pass") is None
            await world.worker.reply(message, b"served")
            assert (await caller.response()).body == b"served"


@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES)
async def test_no_other_protocol_is_spoken_whoever_asks_for_it(world, headers):
    async with await Caller.connect(world.port) as caller:
        await caller.send(post(headers, b""))
        message = await world.worker.request(world.queue)
        await world.worker.reply(message, b"in HTTP/1.1")
        assert (await caller.response()).body == b"in HTTP/1.1"


async def test_a_method_in_lower_case_is_another_method(world):
    async with await Caller.connect(world.port) as caller:
        await caller.send(post(FIVE, line=b"post /echo HTTP/1.1\r\n"))
        assert (await caller.response()).status in (400, 405)
    await world.nothing_was_sent()
