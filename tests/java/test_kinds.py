"""Which kinds of JMS messages can be an answer, and what a worker of ours sees of each as a request."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from bridge.settings import Route
from consumers import Request, Worker
from tests.bridge.harness import running, settings_for
from tests.consumers.harness import running as working
from tests.java.programs import on_both

pytestmark = [pytest.mark.asyncio(loop_scope="module"), on_both]

TEXT = "zwölf Boxkämpfer € 😀"
BYTES = b"\x00\x01\xff\n\x00"
EMPTY_BYTES = {"classic": b"", "artemis": bytes(4)}  # of a CORE client Artemis shows its own place-holder
UNREADABLE = [
    *("map", "large-map", "empty-map", "object", "list", "unknown-object"),
    *("empty-text", "null-text", "message"),  # which look the same
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bridge(broker, start, queue):
    routes = [
        Route(name="kinds", path="/kinds", queue=queue("kinds"), timeout=20.0),
        Route(name="hasty", path="/hasty", queue=queue("kinds"), timeout=2.0),
        Route(name="other", path="/other", queue=queue("other"), timeout=20.0),
    ]
    await start(broker, "probe", "work", queue("kinds"), "transacted")
    await start(broker, "probe", "work", queue("other"), "transacted")
    async with running(settings_for(broker, routes), "hypercorn") as bridge:
        yield bridge


def reply(bridge, *order, **options):
    return bridge.call("/kinds", " ".join(["reply", *order]).encode(), **options)


# -- as replies


async def test_a_text_is_utf_8(bridge):
    response = await reply(bridge, "text")
    assert (response.status, response.body.decode()) == (200, TEXT)
    assert response.get("content-type") == "text/plain; charset=utf-8"


async def test_bytes_are_octets(bridge):
    response = await reply(bridge, "bytes")
    assert (response.status, response.get("content-type")) == (200, "application/octet-stream")
    assert response.body == BYTES


async def test_a_status_can_be_an_int(bridge):
    response = await reply(bridge, "text", "201")
    assert (response.status, response.body.decode()) == (201, TEXT)


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_what_cannot_be_a_body_is_a_bad_reply_and_harms_no_other_call(bridge, kind):
    generation = bridge.bridge.client.generation
    other = asyncio.create_task(bridge.call("/other", b"reply text"))
    for status in (["200"], []):
        response = await reply(bridge, kind, *status)
        assert (response.status, response.name, response.problem["ran"]) == (502, "bad-reply", "yes")
        assert "Map, Object or Stream message" in response.problem["detail"]
    assert (await other).body.decode() == TEXT
    assert bridge.bridge.client.generation == generation


async def test_a_stream_is_a_bad_reply_where_the_broker_shows_it(bridge, broker):
    if broker.kind == "artemis":  # it fails to read it, drops it, and nobody knows of it
        response = await bridge.call("/hasty", b"reply stream")
        assert (response.status, response.name) == (504, "deadline")
    else:
        response = await reply(bridge, "stream")
        assert (response.status, response.name) == (502, "bad-reply")


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_the_same_as_the_result_of_a_job(bridge, kind):
    made = await reply(bridge, kind, headers=(("Prefer", "respond-async, wait=15"),))
    assert (made.status, made.name, made.get("job-state")) == (502, "bad-reply", "failed")


@pytest.mark.parametrize("kind", ["empty-text", "null-text", "message"])
async def test_no_body_is_said_with_204(bridge, kind):
    response = await reply(bridge, kind, "204")
    assert (response.status, response.body) == (204, b"")


async def test_an_empty_text_that_says_so_is_one(bridge):
    response = await reply(bridge, "final-text")
    assert (response.status, response.body) == (200, b"")


async def test_empty_bytes_are_what_the_broker_makes_of_them(bridge, broker):
    response = await reply(bridge, "empty-bytes")
    assert (response.status, response.body) == (200, EMPTY_BYTES[broker.kind])


# -- what a JMS worker sees


async def test_what_a_jms_worker_sees_of_a_call(bridge):
    headers = (("Content-Type", "text/plain"), ("Priority", "u=1"))
    response = await bridge.call("/kinds?x=1", b"see", headers=headers)
    seen = json.loads(response.body)
    assert (seen["kind"], seen["body"], seen["type"], seen["priority"]) == ("text", "see", "kinds", 7)
    assert seen["correlation_id"] == response.get("correlation-id")
    assert seen["persistent"] is False
    assert 0 < seen["expires"] - bridge.bridge.client.clock.now_ms() < 20_000
    assert str(seen["expires"]) == seen["property deadline_ms"]
    assert (seen["property http_method"], seen["property http_target"]) == ("POST", "/kinds?x=1")
    assert seen["property content_type"] == "text/plain"


async def test_a_body_that_is_not_text_comes_as_bytes(bridge):
    seen = json.loads((await bridge.call("/kinds", b"see", headers=(("Content-Type", "image/png"),))).body)
    assert (seen["kind"], seen["body"]) == ("bytes", b"see".hex())


# -- as requests


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ours(broker, queue):
    """A worker of ours, and the requests that its handler got."""
    seen: list[Request] = []

    async def handler(request: Request) -> str:
        seen.append(request)
        return TEXT

    worker = Worker("ours")
    worker.handler(queue("asked"))(handler)
    async with working(worker, broker):
        yield worker, seen


async def ask(start, broker, queue, kinds):
    """What a Java program gets that sends these, by kind; None: nothing."""
    asking = await start(broker, "probe", "ask", queue("asked"), *kinds, says=None)
    assert await asking.end() == 0, asking.output
    lines = [line.partition(": ")[::2] for line in asking.lines]
    replies = {kind: None if seen == "nothing" else json.loads(seen) for kind, seen in lines if kind in kinds}
    assert list(replies) == kinds, asking.output
    return replies


async def test_what_a_worker_of_ours_sees_of_each_kind(ours, broker, start, queue):
    _, requests = ours
    requests.clear()
    kinds = ["text", "bytes", "empty-bytes", "said-to-be-empty"]
    replies = await ask(start, broker, queue, kinds)
    assert [request.body for request in requests] == [TEXT.encode(), BYTES, EMPTY_BYTES[broker.kind], b""]
    for kind, request in zip(kinds, requests, strict=True):
        properties = [request.message.text(name) for name in ("kind", "of_boolean", "of_int", "of_double", "priority")]
        assert (request.correlation_id, properties) == (f"call of {kind}", [kind, "true", "7", "1.5", "7"])
        assert 0 < request.remaining() < 20
    for seen in replies.values():
        assert (seen["kind"], seen["body"], seen["property http_status"]) == ("text", TEXT, "200")
        assert seen["persistent"] is True  # as its request


async def test_what_has_lost_its_body_is_refused_with_a_word_of_why_and_counted(ours, broker, start, queue):
    worker, requests = ours
    requests.clear()
    counted = worker.counts.unreadable
    replies = await ask(start, broker, queue, UNREADABLE)
    for seen in replies.values():
        assert (seen["kind"], seen["property http_status"]) == ("text", "415")
        assert seen["property content_type"] == "application/problem+json"
        problem = json.loads(seen["body"])
        assert (problem["status"], problem["ran"]) == (415, "no")
        assert "Map, Object or Stream message" in problem["detail"]
        assert "content_length" in problem["detail"]
    assert (requests, worker.counts.unreadable - counted) == ([], len(UNREADABLE))


async def test_a_stream_is_refused_where_the_broker_shows_it(ours, broker, start, queue):
    _, requests = ours
    requests.clear()
    replies = await ask(start, broker, queue, ["stream"])
    if broker.kind == "artemis":  # it fails to read it, drops it, and nobody knows of it
        assert replies == {"stream": None}
    else:
        assert replies["stream"]["property http_status"] == "415"
    assert not requests
