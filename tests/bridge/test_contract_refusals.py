"""Refusals of what is malformed, forbidden or nowhere, on the wire: nothing of them reaches the broker."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.bridge.callers import Caller, chunked, request
from tests.bridge.refusing import check, refusing

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(carrier, implementation, queue):
    async with refusing(carrier, implementation, queue) as world:
        yield world


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    world.worker.forget()
    yield
    await world.bridge.at_rest()


# -- 400


MALFORMED = {
    "length and chunked": request(
        "/echo", headers=(("Content-Length", "5"), ("Transfer-Encoding", "chunked")), body=None
    )
    + chunked(b"hello"),
    "chunked and length": request(
        "/echo", headers=(("Transfer-Encoding", "chunked"), ("Content-Length", "5")), body=None
    )
    + chunked(b"hello"),
    "two lengths": request("/echo", b"hello", headers=(("Content-Length", "6"),)),
    "a length that is no number": request("/echo", headers=(("Content-Length", "5x"),), body=None) + b"hello",
    "a negative length": request("/echo", headers=(("Content-Length", "-5"),), body=None) + b"hello",
    "an enormous length": request("/echo", headers=(("Content-Length", "9" * 30),), body=None),
    "no host": request("/echo", host=None),
    "an unknown transfer coding": request("/echo", headers=(("Transfer-Encoding", "gzip, chunked"),), body=None)
    + chunked(b"hello"),
    "a body and another protocol": request("/echo", b"hello", headers=(("Connection", "Upgrade"), ("Upgrade", "h2c"))),
    "chunks and another protocol": request(
        "/echo", None, headers=(("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Transfer-Encoding", "chunked"))
    )
    + chunked(b"hello"),
    "two hosts": request("/echo", headers=(("Host", "localhost"),)),
    "a NUL in a header": request("/echo", headers=(("X-Pass", b"a\x00b"),)),
    "a bare CR in a header": request("/echo", headers=(("X-Pass", b"a\rb"),)),
    "a space before the colon": request("/echo").replace(b"Host:", b"Host :"),
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a target with a control character": request(b"/echo\x01"),
    "a target that is not ASCII": request(b"/echo?\xc3\xa4"),
    "a bad chunk": request("/echo", headers=(("Transfer-Encoding", "chunked"),), body=None) + b"zz\r\nhello\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_request_is_a_400_and_ends_the_connection(world, data):
    smuggled = request("/echo", b"smuggled")
    async with await Caller.connect(world.port) as caller:
        await caller.send(data + smuggled)
        response = await caller.response()
        # What the HTTP server itself cannot parse has no document: it never became a request of ours.
        if response.is_problem:
            check(response, "invalid-request", field=response.problem["field"])
        assert response.status == 400 or (response.status, response.body) == (501, b"")  # h11, of a transfer coding
        assert await caller.ended() == b""
    await world.nothing_was_sent()


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ((("Content-Type", "text/plain"), ("Content-Type", "text/html")), "content-type"),
        ((("Idempotency-Key", "a"), ("Idempotency-Key", "a")), "idempotency-key"),
    ],
)
async def test_what_may_stand_once_is_refused_twice(world, headers, field):
    check(await world.bridge.call(headers=headers), "invalid-request", field=field)
    await world.nothing_was_sent()


@pytest.mark.jobs
@pytest.mark.parametrize("key", ["", "a b", '"', "a" * 256])
async def test_a_malformed_key_is_a_400(world, key):
    response = await world.bridge.call("/maybe-job", headers=(("Idempotency-Key", key),))
    check(response, "invalid-request", field="idempotency-key", instance="/maybe-job")


@pytest.mark.jobs
async def test_a_missing_key_is_a_400(world):
    check(await world.bridge.call("/keyed-job"), "invalid-request", field="idempotency-key", instance="/keyed-job")


@pytest.mark.parametrize("name", ["X-Pass", "Content-Type"])
@pytest.mark.parametrize("control", [b"\x01", b"\x0b", b"\x1b", b"\x7f"])
async def test_a_control_character_in_a_header_is_a_400(world, name, control):
    response = await world.bridge.call(headers=((name, b"a" + control + b"b"),))
    if response.is_problem:  # else the HTTP server would not have it
        check(response, "invalid-request", field=name.lower())
    assert response.status == 400
    await world.nothing_was_sent()


# -- 403, 404, 405


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "10.1.2.3:80"])
async def test_an_open_bridge_refuses_another_host(world, host):
    check(await world.bridge.call(host=host), "forbidden")
    await world.nothing_was_sent()


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "Via"])
async def test_an_open_bridge_refuses_what_came_through_a_proxy(world, name):
    check(await world.bridge.call(headers=((name, "for=1.2.3.4"),)), "forbidden")
    await world.nothing_was_sent()


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/nothing",
        "/echo/",
        "/items/",
        "/items/a%00",
        "/items/a%2fb",
        "/items/a,b",
        "/items/%3e",
        "/items/>",
        "/items/" + "a" * 65,
        "/items/a.b",
        "/items/%ff",
        "/items/../echo",
        "/queue/echo",
        "//echo",
    ],
)
async def test_no_such_path(world, target):
    check(await world.bridge.call(target, b"x"), "no-route", instance=target)
    await world.nothing_was_sent()


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS"])
async def test_no_such_method(world, method):
    response = await world.bridge.call(method=method)
    check(response, "method-not-allowed")
    assert response.get("allow") == "GET, POST, PUT"


async def test_the_answer_to_a_refused_head_has_no_body(world):
    response = await world.bridge.call(method="HEAD", body=None)
    assert (response.status, response.body) == (405, b"")
    assert (await world.bridge.call("/echo", b"", method="DELETE")).name == "method-not-allowed"
