"""stomp.py, a STOMP client that is not ours, on either side of a request and its reply."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import stomp
from stomp.utils import Frame as StompFrame

from activemq.frames import encode

pytestmark = pytest.mark.every_broker

PATIENCE = 20.0  # seconds
BODIES = {
    "text": ("héllo 你好 \U0001f600\n\n".encode(), False),
    "bytes": (bytes(range(256)), True),
    "empty": (b"", False),
}


class Listener(stomp.ConnectionListener):
    """Hands what comes on stomp.py's thread to the test's loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.messages: asyncio.Queue[StompFrame] = asyncio.Queue()
        self.errors: asyncio.Queue[StompFrame] = asyncio.Queue()

    def on_message(self, frame: StompFrame) -> None:
        self._loop.call_soon_threadsafe(self.messages.put_nowait, frame)

    def on_error(self, frame: StompFrame) -> None:
        self._loop.call_soon_threadsafe(self.errors.put_nowait, frame)

    async def next(self) -> StompFrame:
        return await asyncio.wait_for(self.messages.get(), PATIENCE)


class Peer:
    """A program on stomp.py. Bodies are bytes, and content-length is the caller's to set."""

    def __init__(self, target) -> None:
        self.connection = stomp.Connection12(
            [(target.host, target.port)], auto_decode=False, auto_content_length=False, reconnect_attempts_max=1
        )
        self.listener = Listener()
        self.connection.set_listener("test", self.listener)
        self._who = target.login, target.passcode

    async def connect(self) -> None:
        await asyncio.to_thread(self.connection.connect, *self._who, wait=True)

    async def subscribe(self, destination: str, **headers: str) -> None:
        await asyncio.to_thread(self.connection.subscribe, destination, "1", **headers)

    async def send(self, destination: str, body: bytes, *, counted: bool = False, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if counted:
            named["content-length"] = str(len(body))
        await asyncio.to_thread(self.connection.send, destination, body, headers=named)


@pytest.fixture
async def peer() -> AsyncIterator[Callable[..., Awaitable[Peer]]]:
    """``await peer(target)`` gives a program on stomp.py, connected."""
    peers: list[Peer] = []

    async def peer(target) -> Peer:
        one = Peer(target)
        peers.append(one)
        await one.connect()
        return one

    yield peer
    for one in peers:
        await asyncio.to_thread(one.connection.disconnect)


@pytest.mark.parametrize(("body", "counted"), BODIES.values(), ids=BODIES)
async def test_our_request_its_reply(target, join, inbox, peer, queue: str, body: bytes, counted: bool) -> None:
    asker = await join(target)
    replies = inbox(asker, lambda p: p.replies("r"))
    worker = await peer(target)
    await worker.subscribe(f"/queue/{queue}", ack="client-individual")
    length = [("content-length", str(len(body)))] if counted else []
    headers = [("destination", f"/queue/{queue}"), ("reply-to", asker.profile.reply_to("r"))]
    odd = "a:b\\c\nd\r" if "1.2" in asker.profile.versions else "a:b\\c\nd"  # 1.1 has no escape for CR
    asker.send(encode("SEND", [*headers, ("correlation-id", "c:1"), ("odd", odd), *length], body))
    request = await worker.listener.next()
    assert (request.body, request.headers["correlation-id"], request.headers["odd"]) == (body, "c:1", odd)
    await worker.send(request.headers["reply-to"], body, counted=counted, correlation_id="c:1", http_status="201")
    await asyncio.to_thread(worker.connection.ack, request.headers["ack"])
    reply = await replies.next()
    assert (reply.body, reply.get("correlation-id"), reply.get("http-status")) == (body, "c:1", "201")


@pytest.mark.parametrize(("body", "counted"), BODIES.values(), ids=BODIES)
async def test_its_request_our_reply(target, join, inbox, peer, queue: str, body: bytes, counted: bool) -> None:
    worker = await join(target)
    work = inbox(worker, lambda p: p.consume(queue))
    asker = await peer(target)
    subscribed, reply_to = target.facts.reply_place
    await asker.subscribe(subscribed)
    await asker.send(f"/queue/{queue}", body, counted=counted, correlation_id="c:1", reply_to=reply_to, odd="a:b\\c\nd")
    request = await work.next()
    assert (request.body, request.get("correlation-id"), request.get("odd")) == (body, "c:1", "a:b\\c\nd")
    length = [("content-length", str(len(body)))] if counted else []
    worker.send(encode("SEND", [("destination", request.get("reply-to")), ("correlation-id", "c:1"), *length], body))
    worker.ack(request, worker.generation)
    reply = await asker.listener.next()
    assert (reply.body, reply.headers["correlation-id"]) == (body, "c:1")


async def test_what_it_did_not_acknowledge_comes_to_us(target, join, inbox, send, peer, queue: str) -> None:
    client = await join(target)
    other = await peer(target)
    await other.subscribe(f"/queue/{queue}", ack="client-individual")
    await send(client, f"/queue/{queue}", b"x")
    assert (await other.listener.next()).body == b"x"
    await asyncio.to_thread(other.connection.disconnect)
    frame = await inbox(client, lambda p: p.consume(queue)).next()
    assert (frame.body, frame.get("redelivered")) == (b"x", "true")
    client.ack(frame, client.generation)


async def test_its_refusal_is_an_error_to_it_too(target, peer) -> None:
    other = await peer(target)
    await other.send(target.facts.forbidden, b"x", receipt="r")
    error = await asyncio.wait_for(other.listener.errors.get(), PATIENCE)
    assert target.facts.refusal in error.headers["message"]
