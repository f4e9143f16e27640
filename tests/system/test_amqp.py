"""AMQP programs as workers and as requesters, on RabbitMQ: docs/amqp.md, with pika and aio-pika."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from bridge.settings import Route
from consumers import Reply, Request, Worker
from tests.bridge.callers import PATIENCE, Caller, request, until
from tests.bridge.harness import Running, client_for, running, settings_for

TEXT = (Path(__file__).parents[2] / "docs" / "amqp.md").read_text()
BLOCKS = {
    re.match(r"# (\w+)\.py\n", block)[1]: block
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
}


@pytest.fixture
async def channel(rabbitmq: Any) -> AsyncIterator[Any]:
    async with await aio_pika.connect(rabbitmq.amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        yield channel


@pytest.fixture
def bridge(rabbitmq: Any) -> Any:
    """``async with bridge(queue)`` serves POST /q from that queue."""

    @asynccontextmanager
    async def serve(queue: str, **options: Any) -> AsyncIterator[Running]:
        returns = ("cache-control", "location")
        route = Route(**{"name": "q", "path": "/q", "queue": queue, "pass_reply_headers": returns, **options})
        async with running(settings_for(rabbitmq, [route]), "uvicorn") as served:
            yield served

    return serve


@pytest.fixture
def working(rabbitmq: Any) -> Any:
    """``async with working(worker)``: a worker of ours, on RabbitMQ."""

    @asynccontextmanager
    async def run(worker: Worker) -> AsyncIterator[Any]:
        client, stop, ready = client_for(rabbitmq), asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(worker.run(client, 1, stop, ready.set))
        async with asyncio.timeout(PATIENCE):
            await ready.wait()
        yield client
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await task

    return run


@asynccontextmanager
async def process(rabbitmq: Any, folder: Path, block: str, *arguments: str) -> AsyncIterator[Any]:
    """Run a block of the documentation as the program that it is."""
    (folder / f"{block}.py").write_text(BLOCKS[block])
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        folder / f"{block}.py",
        *arguments,
        env={**os.environ, "AMQP_URL": rabbitmq.amqp_url},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield started.stdout
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def line(stream: Any) -> str:
    async with asyncio.timeout(PATIENCE):
        return (await stream.readline()).decode().rstrip()


async def taken(queue: Any) -> Any:
    """The next message of a declared queue, unacknowledged."""
    async with asyncio.timeout(PATIENCE):
        while (message := await queue.get(fail=False)) is None:  # noqa: ASYNC110 - what is looked at cannot tell
            await asyncio.sleep(0.01)
    return message


async def take(channel: Any, queue: str) -> Any:
    """The next message of a route's queue, unacknowledged."""
    return await taken(await channel.declare_queue(queue, durable=True))


async def answer(channel: Any, asked: Any, body: bytes = b"", **properties: Any) -> None:
    """Publish a reply, then acknowledge."""
    reply = aio_pika.Message(body, correlation_id=asked.correlation_id, **properties)
    await channel.default_exchange.publish(reply, routing_key=asked.reply_to)
    await asked.ack()


def test_each_block_is_tried_here() -> None:
    mine = Path(__file__).read_text()
    assert len(BLOCKS) == TEXT.count("```python")
    assert [name for name in BLOCKS if f'"{name}"' not in mine] == []


# -- workers


async def test_what_a_worker_gets(bridge: Any, channel: Any, queue: Any) -> None:
    name = queue("gets")
    async with bridge(name, persistent=True, timeout=20.0, path="/q/{size}", accepts=("application/json",)) as served:
        headers = (("content-type", "application/json"), ("accept-language", "de"), ("priority", "u=1"))
        call = asyncio.create_task(served.call("/q/200?x=1", b'{"a": 1}', headers=headers))
        asked = await take(channel, name)
        assert (asked.body, asked.content_type, asked.type) == (b'{"a": 1}', "application/json", "q")
        assert re.fullmatch(r"[0-9a-f]{32}", asked.correlation_id)
        assert asked.reply_to.startswith("bridge.reply.")
        assert (asked.delivery_mode, asked.priority > 4) == (aio_pika.DeliveryMode.PERSISTENT, True)
        assert 0 < asked.expiration <= 20
        told = asked.headers
        assert {"http_method": "POST", "http_target": "/q/200?x=1", "path_size": "200"}.items() <= told.items()
        assert told["http_header_accept_language"] == "de"
        assert all(isinstance(value, str) for value in told.values())
        await answer(channel, asked)
        assert (await call).status == 200


async def test_status_headers_and_any_bytes_come_back(bridge: Any, channel: Any, queue: Any) -> None:
    name, body = queue("back"), bytes(range(256))
    async with bridge(name) as served:
        call = asyncio.create_task(served.call("/q", body))
        asked = await take(channel, name)
        assert (asked.body, asked.content_type) == (body, None)
        told = {"http_status": "201", "http_header_location": "/x", "http_header_secret": "not passed on"}
        await answer(channel, asked, body[::-1], content_type="image/png", headers=told)
        got = await call
    assert (got.status, got.body, got.get("content-type")) == (201, body[::-1], "image/png")
    assert (got.get("location"), got.get("secret")) == ("/x", None)


@pytest.mark.parametrize(
    ("body", "media_type"), [(b"text", "text/plain; charset=utf-8"), (b"\xff", "application/octet-stream")]
)
async def test_a_reply_that_says_nothing_is_200_and_what_its_bytes_look_like(
    bridge: Any, channel: Any, queue: Any, body: bytes, media_type: str
) -> None:
    async with bridge(queue("plain")) as served:
        call = asyncio.create_task(served.call("/q", b"?"))
        await answer(channel, await take(channel, queue("plain")), body)
        got = await call
    assert (got.status, got.body, got.get("content-type")) == (200, body, media_type)


async def test_a_worker_says_that_it_failed(bridge: Any, channel: Any, queue: Any) -> None:
    async with bridge(queue("fails")) as served:
        call = asyncio.create_task(served.call("/q"))
        await answer(channel, await take(channel, queue("fails")), headers={"problem": "worker-failed"})
        assert ((got := await call).status, got.name) == (502, "worker-failed")


async def test_a_small_number_of_aio_pikas_is_lost_so_statuses_are_strings(
    bridge: Any, channel: Any, queue: Any
) -> None:
    """RabbitMQ's STOMP side drops it; if this fails on a newer one, docs/amqp.md can be kinder."""
    async with bridge(queue("number")) as served:
        for status, seen in ((503, 200), ("503", 503)):
            call = asyncio.create_task(served.call("/q"))
            await answer(channel, await take(channel, queue("number")), headers={"http_status": status})
            assert (await call).status == seen


async def test_a_job_is_answered_and_kept_as_safe_as_its_request(bridge: Any, channel: Any, queue: Any) -> None:
    name = queue("job")
    async with bridge(name) as served:
        made = await served.call("/q", b"?", headers=(("prefer", "respond-async"),))
        assert made.status == 202
        asked = await take(channel, name)
        assert asked.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        assert asked.reply_to.startswith("bridge.replies.")
        await answer(channel, asked, b"done", content_type="text/plain", delivery_mode=asked.delivery_mode)
        got = await served.call(made.get("location"), None, method="GET", headers=(("prefer", "wait=15"),))
    assert (got.status, json.loads(got.body)["state"]) == (200, "done")


async def test_a_worker_that_dies_gives_its_message_to_the_next(
    rabbitmq: Any, bridge: Any, channel: Any, queue: Any
) -> None:
    name = queue("dies")
    async with bridge(name) as served:
        call = asyncio.create_task(served.call("/q", b"?"))
        async with await aio_pika.connect(rabbitmq.amqp_url) as doomed:
            assert not (await take(await doomed.channel(), name)).redelivered
        again = await take(channel, name)
        assert again.redelivered
        await answer(channel, again, b"!")
        assert (await call).body == b"!"


async def test_a_late_reply_is_published_and_goes_nowhere(bridge: Any, channel: Any, queue: Any) -> None:
    name = queue("late")
    async with bridge(name) as served:
        async with await Caller.connect(served.port) as caller:
            await caller.send(request("/q", b"?"))
            late = await take(channel, name)
        await served.at_rest()
        await answer(channel, late, b"late")
        call = asyncio.create_task(served.call("/q", b"?"))
        await answer(channel, await take(channel, name), b"in time")
        assert (await call).body == b"in time"
        await until(lambda: served.bridge.exchange.counts.stray_replies == 1)


async def test_the_worker_with_pika(rabbitmq: Any, bridge: Any, tmp_path: Path) -> None:
    async with process(rabbitmq, tmp_path, "hello_pika") as output, bridge("hello.pika") as served:
        assert await line(output) == "ready"
        got = await served.call("/q", b"Ada")
    assert (got.status, got.body, got.get("cache-control")) == (201, b"hello Ada", "no-store")


async def test_the_worker_with_aio_pika(rabbitmq: Any, bridge: Any, tmp_path: Path) -> None:
    async with process(rabbitmq, tmp_path, "hello_aio") as output, bridge("hello.aio") as served:
        assert await line(output) == "ready"
        got = await served.call("/q", b"Ada")
    assert (got.status, json.loads(got.body), got.get("content-type")) == (200, {"hello": "Ada"}, "application/json")


# -- requesters


def echo(queue: str) -> Worker:
    worker = Worker()

    @worker.handler(queue)
    async def echo(body: bytes) -> Reply:
        return Reply(body, 203, "image/png", {"x-y": "z"})

    return worker


async def test_a_requester_with_direct_reply_to(rabbitmq: Any, working: Any, queue: Any, tmp_path: Path) -> None:
    async with working(echo(queue("ask"))), process(rabbitmq, tmp_path, "ask_pika", queue("ask"), "what?") as output:
        assert await line(output) == "203 image/png what?"


@pytest.mark.parametrize("known_by", ["correlation_id", "message_id"])
async def test_a_requester_with_a_queue_of_its_own(working: Any, channel: Any, queue: Any, known_by: str) -> None:
    name = queue(f"own.{known_by}")
    replies = await channel.declare_queue(exclusive=True)
    async with working(echo(name)):
        question = aio_pika.Message(b"\0\xff", reply_to=replies.name, **{known_by: "mine"})
        await channel.default_exchange.publish(question, routing_key=name)
        reply = await taken(replies)
    assert (reply.body, reply.correlation_id, reply.content_type) == (b"\0\xff", "mine", "image/png")
    assert (reply.headers["http_status"], reply.headers["http_header_x_y"]) == ("203", "z")


async def test_a_message_with_headers_that_are_orders_in_stomp_is_handed_on_as_it_was(
    rabbitmq: Any, working: Any, channel: Any, queue: Any
) -> None:
    """A worker of ours was lost with it: the next one sends a copy, whatever an AMQP program has put into it."""
    name, attempts = queue("orders"), []
    worker = Worker()

    @worker.handler(name)
    async def note(request: Request) -> bytes:
        attempts.append((request.attempt, request.message.text("own"), request.message.persistent))
        return request.body

    orders = {
        "own": "a:b",
        "durable": "false",
        "exclusive": "true",
        "x-max-priority": "none",
        "x-queue-type": "stream",
        "x-expires": "1",
        "transaction": "none",
        "receipt": "r",
        "message-id": "m",
        "destination": "/queue/other",
    }
    replies = await channel.declare_queue(exclusive=True)
    question = aio_pika.Message(
        b"?",
        reply_to=replies.name,
        correlation_id="c",
        user_id=rabbitmq.login,
        delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT,
        timestamp=1_700_000_000,
        expiration=60,
        headers=orders,
    )
    await channel.declare_queue(name, durable=True)
    await channel.default_exchange.publish(question, routing_key=name)
    async with await aio_pika.connect(rabbitmq.amqp_url) as doomed:
        await take(await doomed.channel(), name)
    async with working(worker) as client:
        reply = await taken(replies)
        assert client.generation == 1  # nothing that was sent has cost the connection
    assert (reply.body, reply.correlation_id, attempts) == (b"?", "c", [(2, "a:b", False)])
