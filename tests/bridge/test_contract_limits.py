"""Refusals of what is too slow, too large or too much, on the wire: nothing of them reaches the broker."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest
import pytest_asyncio

from activemq.message import MAX_PROPERTY
from bridge import translate
from tests.bridge.callers import Caller, call, chunked, request
from tests.bridge.refusing import MAX_BODY, MAX_MEMORY, check, refusing

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


# -- 408


STALLED = {
    "no byte of a length": request("/echo", body=None, headers=(("Content-Length", "5"),)),
    "not all of a length": request("/echo", body=None, headers=(("Content-Length", "5"),)) + b"hell",
    "no chunk": request("/echo", body=None, headers=(("Transfer-Encoding", "chunked"),)),
    "no last chunk": request("/echo", body=None, headers=(("Transfer-Encoding", "chunked"),))
    + chunked(b"a", end=False),
    "half a chunk": request("/echo", body=None, headers=(("Transfer-Encoding", "chunked"),)) + b"5\r\nhel",
}


@pytest.mark.parametrize("data", STALLED.values(), ids=STALLED)
async def test_a_body_that_does_not_come_is_a_408_and_ends_the_connection(world, data):
    loop = asyncio.get_running_loop()
    async with await Caller.connect(world.port) as caller:
        started = loop.time()
        await caller.send(data)
        response = await caller.response()
        assert loop.time() - started >= 0.4
        check(response, "body-timeout")
        assert response.get("connection") == "close"
        assert await caller.ended() == b""
    await world.nothing_was_sent()


async def test_a_body_that_never_ends_is_a_408(world):
    async with await Caller.connect(world.port) as caller:
        await caller.send(request("/echo", body=None, headers=(("Transfer-Encoding", "chunked"),)))

        async def drip():
            while True:
                await caller.send(chunked(b".", end=False))
                await asyncio.sleep(0.02)  # slower than the limit in size, faster than any pause between two reads

        dripping = asyncio.create_task(drip())
        try:
            check(await caller.response(), "body-timeout")
        finally:
            dripping.cancel()
            await asyncio.wait([dripping])
    await world.nothing_was_sent()


# -- 413


@pytest.mark.parametrize("length", [MAX_BODY + 1, 10 * MAX_BODY, 10**17])
async def test_a_length_over_the_limit_is_refused_before_a_byte_is_read(world, length):
    response = await world.raw(request("/echo", body=None, headers=(("Content-Length", str(length)),)))
    check(response, "body-too-large", limit_bytes=MAX_BODY)
    assert response.get("connection") == "close"
    await world.nothing_was_sent()


@pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY])
async def test_a_body_up_to_the_limit_is_served(world, size):
    body = b"x" * size
    message, _ = await world.served(body=body)
    assert message.body == body
    parts = [body[at : at + 60_000] for at in range(0, size, 60_000)]
    calling = asyncio.create_task(
        world.raw(request("/echo", body=None, headers=(("Transfer-Encoding", "chunked"),)) + chunked(*parts))
    )
    message = await world.worker.request(world.queue)
    assert message.body == body
    await world.worker.reply(message, b"whole")
    assert (await calling).body == b"whole"


@pytest.mark.parametrize("size", [MAX_BODY + 1, 5 * MAX_BODY])
async def test_a_body_without_a_length_is_refused_while_it_is_read(world, size):
    parts = [b"x" * min(60_000, size - at) for at in range(0, size, 60_000)]
    async with await Caller.connect(world.port) as caller:
        head = request("/echo", body=None, headers=(("Transfer-Encoding", "chunked"),))
        sending = asyncio.create_task(caller.send(head + chunked(*parts, end=False)))
        response = await caller.response()
        await asyncio.wait([sending])
        sending.exception()  # the connection may be gone before all was sent
    check(response, "body-too-large", limit_bytes=MAX_BODY)
    assert response.get("connection") == "close"
    await world.nothing_was_sent()


async def test_a_caller_that_asks_first_is_refused_without_having_sent_its_body(world):
    head = request("/echo", body=None, headers=(("Content-Length", str(MAX_BODY + 1)), ("Expect", "100-continue")))
    response = await world.raw(head)
    check(response, "body-too-large", limit_bytes=MAX_BODY)


async def test_a_caller_that_asks_first_is_told_to_go_on(world):
    async with await Caller.connect(world.port) as caller:
        await caller.send(request("/echo", body=None, headers=(("Content-Length", "5"), ("Expect", "100-continue"))))
        assert (await caller.raw_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await caller.send(b"hello")
        message = await world.worker.request(world.queue)
        assert message.body == b"hello"
        await world.worker.reply(message, b"ok")
        assert (await caller.response()).body == b"ok"


# -- 414, 431


@pytest.mark.parametrize("size", [MAX_PROPERTY - 1, MAX_PROPERTY])
async def test_a_target_and_a_header_of_8_kib_pass_the_broker(world, size):
    target = "/echo?" + "a" * (size - len("/echo?"))
    value = "x:" * (size // 3) + "y" * (size % 3)
    message, response = await world.served(target, headers=(("X-Pass", value),))
    assert (message.get("http_target"), message.get("http_header_x_pass")) == (target, value)
    assert response.status == 200


async def test_a_longer_target_is_a_414(world):
    target = "/echo?" + "a" * (MAX_PROPERTY - 5)
    check(await world.bridge.call(target), "uri-too-long", limit_bytes=MAX_PROPERTY)
    colons = "/echo?" + ":" * (MAX_PROPERTY // 2)
    check(await world.bridge.call(colons), "uri-too-long", limit_bytes=MAX_PROPERTY)
    await world.nothing_was_sent()


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "headers",
    [
        (("X-Pass", "a" * (MAX_PROPERTY + 1)),),
        (("X-Pass", "\\" * (MAX_PROPERTY // 2 + 1)),),
        (("X-Pass", "ä".encode() * (MAX_PROPERTY // 2 + 1)),),
        (("X-Pass", "a" * 5_000), ("X-Pass", "a" * 5_000)),
        (("Content-Type", "a" * (MAX_PROPERTY + 1)),),
        (("traceparent", PARENT), ("tracestate", "a" * (MAX_PROPERTY + 1))),
    ],
    ids=["one", "escaped", "UTF-8", "joined", "content-type", "tracestate"],
)
async def test_a_longer_header_is_a_431(world, headers):
    check(await world.bridge.call(headers=headers), "headers-too-large", limit_bytes=MAX_PROPERTY)
    await world.nothing_was_sent()


async def test_a_traceparent_without_end_does_not_reach_the_broker(world):
    endless = "01" + PARENT[2:] + "-" + "x" * 40_000
    message, _ = await world.served(headers=(("traceparent", endless),))
    assert len(message.get("traceparent")) == 55
    await world.nothing_was_sent()


async def test_a_head_without_end_is_refused_by_the_http_server(world):
    async with await Caller.connect(world.port) as caller:
        await caller.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for _ in range(200):
                await caller.send(b"X-Junk: " + b"j" * 8_000 + b"\r\n")
            await caller.send(b"\r\n")
        except ConnectionError:
            pass  # it was cut
        else:
            assert (await caller.response()).status == 431
        assert await caller.ended() is not None
    await world.nothing_was_sent()


# -- 415


@pytest.mark.parametrize("content_type", ["image/gif", "text/plain", "image/*"])
async def test_a_media_type_that_the_route_does_not_accept(world, content_type):
    response = await world.bridge.call("/png", b"x", headers=(("Content-Type", content_type),))
    check(response, "unsupported-media-type", instance="/png", accepts=["image/png", "image/jpeg"])
    await world.nothing_was_sent()


async def test_an_encoded_body(world):
    response = await world.bridge.call(headers=(("Content-Encoding", "gzip"),))
    check(response, "unsupported-media-type", accepts=[])
    await world.nothing_was_sent()


# -- 500


async def test_a_defect_is_a_500_that_says_nothing_and_is_logged(world, monkeypatch, caplog):
    def defect(*_):
        raise RuntimeError("secret of the bridge")

    with monkeypatch.context() as patched:
        patched.setattr(translate, "as_text", defect)
        response = await world.bridge.call()
    check(response, "internal", ran="maybe")
    assert b"secret" not in response.body
    assert "secret of the bridge" in caplog.text
    assert response.get("correlation-id") in caplog.text
    await world.nothing_was_sent()


# -- 503


async def hold(world, number, target="/echo"):
    """Make calls that are held; return their tasks and their request messages."""
    calls, messages = [], []
    for _ in range(number):
        calls.append(asyncio.create_task(world.bridge.call(target)))
        messages.append(await world.worker.request(world.queue))
    return calls, messages


async def release(world, calls, messages):
    for message in messages:
        await world.worker.reply(message, b"released")
    assert [response.body for response in await asyncio.gather(*calls)] == [b"released"] * len(calls)


async def test_a_bridge_that_holds_its_limit_takes_no_more(world):
    held = await hold(world, 3)
    check(await world.bridge.call(), "bridge-full")
    check(await world.bridge.call("/narrow"), "bridge-full", instance="/narrow")
    await release(world, *held)
    await world.nothing_was_sent()


async def test_a_route_that_holds_its_limit_takes_no_more_and_others_do(world):
    held = await hold(world, 1, "/narrow")
    check(await world.bridge.call("/narrow"), "route-full", instance="/narrow")
    await world.nothing_was_sent()
    await release(world, *held)
    assert (await world.served("/narrow"))[1].status == 200


async def test_bodies_have_a_limit_together(world):
    world.bridge.bridge.admission.reserve(MAX_MEMORY - 50)
    try:
        check(await world.bridge.call(body=b"x" * 51), "bridge-full")
        head = request("/echo", body=None, headers=(("Transfer-Encoding", "chunked"),))
        check(await world.raw(head + chunked(b"x" * 30, b"x" * 21)), "bridge-full")
        assert (await world.served(body=b"x" * 50))[1].status == 200
    finally:
        world.bridge.bridge.admission.release(MAX_MEMORY - 50)
    await world.nothing_was_sent()


@pytest.mark.jobs
@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/maybe-job", (("Prefer", "respond-async"),)),
        ("/maybe-job", (("Prefer", "respond-async, wait=5"),)),
        ("/maybe-job", (("Idempotency-Key", "k"),)),
        ("/always-job", ()),
        ("/keyed-job", (("Idempotency-Key", "k"),)),
    ],
)
async def test_what_would_be_a_job_is_refused_for_want_of_a_store(world, target, headers):
    check(await world.bridge.call(target, b"x", headers=headers), "store-unavailable", instance=target)
    await world.nothing_was_sent()


@pytest.mark.parametrize("headers", [(("Prefer", "respond-async"),), (("Idempotency-Key", "k"),)])
async def test_a_route_without_jobs_ignores_the_wish_for_one(world, headers):
    _, response = await world.served(headers=headers)
    assert response.status == 200
    assert response.get("preference-applied") is None


async def test_a_connection_can_be_used_again_after_a_refusal(world):
    async with await Caller.connect(world.port) as caller:
        for _ in range(3):
            await caller.send(request("/nothing", b"x" * 100))
            assert (await caller.response()).name == "no-route"
        await caller.send(request("/echo", b"and now"))
        message = await world.worker.request(world.queue)
        await world.worker.reply(message, message.body)
        assert (await caller.response()).body == b"and now"


async def test_a_caller_that_writes_all_of_its_body_before_it_reads_has_its_413(world):
    def blocking():
        with socket.create_connection(("127.0.0.1", world.port)) as sock:
            with suppress(ConnectionError):  # it was told already
                sock.sendall(request("/echo", b"x" * 2_000_000))
            return sock.recv(64)

    assert (await asyncio.to_thread(blocking)).startswith(b"HTTP/1.1 413 ")


async def test_both_addresses_of_loopback_name_the_caller_as_a_caller_of_this_machine(world):
    for host in ("127.0.0.1", f"127.0.0.1:{world.port}", "[::1]:1", "localhost"):
        calling = asyncio.create_task(call(world.port, host=host))
        message = await world.worker.request(world.queue)
        await world.worker.reply(message)
        assert (await calling).status == 200
