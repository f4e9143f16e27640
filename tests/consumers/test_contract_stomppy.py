"""stomp.py, an implementation that is not ours, as the requester of our worker."""

from __future__ import annotations

import asyncio
import queue as queues

import pytest
import stomp

from consumers import Reply
from tests.consumers.harness import PATIENCE, running, worker_of

pytestmark = pytest.mark.every_broker

CONNECTIONS = {"1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}


class Replies(stomp.ConnectionListener):
    """Puts what comes into a queue that a test can wait on."""

    def __init__(self):
        self.came = queues.Queue()

    def on_message(self, frame):
        self.came.put(frame)


@pytest.fixture(params=CONNECTIONS)
def peer(request, broker):
    connection = CONNECTIONS[request.param]([("127.0.0.1", broker.stomp_port)], auto_decode=False)
    replies = Replies()
    connection.set_listener("replies", replies)
    connection.connect(broker.login, broker.passcode, wait=True)
    connection.subscribe("/temp-queue/answers", id="answers")
    yield connection, replies.came
    connection.disconnect(receipt="bye")


async def ask(peer, queue, body, **headers):
    """One request and its reply; the loop stays free for the worker."""
    connection, came = peer
    headers = {"reply-to": "/temp-queue/answers", "correlation-id": "it:is\\me", **headers}
    connection.send(f"/queue/{queue}", body, headers=headers)
    return await asyncio.to_thread(came.get, timeout=PATIENCE)


async def test_bytes_come_back_byte_for_byte_with_the_correlation_id(broker, peer, queue):
    body = bytes(range(256)) * 4
    async with running(worker_of(queue, octets), broker):
        frame = await ask(peer, queue, body)
    assert frame.body == body
    assert frame.headers["correlation-id"] == "it:is\\me"
    assert frame.headers["http_status"] == "200"


def octets(body: bytes) -> bytes:
    return body


async def test_a_status_and_headers_arrive(broker, peer, queue):
    async with running(worker_of(queue, lambda request: Reply(b"{}", 404, "application/json", {"x-a": "b:c"})), broker):
        frame = await ask(peer, queue, b"")
    assert frame.headers["http_status"] == "404"
    assert frame.headers["content_type"] == "application/json"
    assert frame.headers["http_header_x_a"] == "b:c"


async def test_a_failure_arrives_as_one(broker, peer, queue):
    async with running(worker_of(queue, lambda request: 1 / 0), broker):
        frame = await ask(peer, queue, b"")
    assert frame.headers["problem"] == "worker-failed"
    assert frame.body == b""
