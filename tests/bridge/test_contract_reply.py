"""A reply as a response, and a request as a message: the way of a call, once through a real ActiveMQ."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pytest
import pytest_asyncio

from bridge.settings import Route
from tests.bridge.harness import ToldWorker, running, settings_for

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.every_broker]

MIB = 1 << 20


class World:
    """A running bridge and a worker that does as it is told."""

    def __init__(self, bridge, worker, queue):
        self.bridge = bridge
        self.worker = worker
        self.queue = queue

    @property
    def profile(self):
        return self.bridge.bridge.client.profile

    async def exchange(self, target="/echo", body=b"", reply=b"", *, queue="echo", text=False, call=None, **properties):
        """Make a call and have it answered; return the request message and the response."""
        calling = asyncio.create_task(self.bridge.call(target, body, **(call or {})))
        request = await self.worker.request(self.queue(queue))
        await self.worker.reply(request, reply, text=text, **properties)
        return request, await calling


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(carrier, implementation, queue):
    routes = [
        Route(
            name="echo",
            path="/echo",
            methods=frozenset({"POST", "GET", "HEAD", "PUT"}),
            queue=queue("echo"),
            timeout=15.0,
            max_body=2 * MIB,
            max_reply=2 * MIB,
            pass_headers=("accept-language", "x-shop-id"),
            pass_reply_headers=("cache-control", "etag", "content-language"),
        ),
        Route(name="thumb", path="/thumb/{size}/{fit}", queue=queue("thumb")),
        Route(name="low", path="/low", queue=queue("low"), priority_ceiling=5, persistent=True, redeliver=False),
    ]
    async with (
        ToldWorker(carrier, *(route.queue for route in routes)) as worker,
        running(settings_for(carrier, routes), implementation) as bridge,
    ):
        yield World(bridge, worker, queue)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    world.worker.forget()
    yield
    await world.bridge.at_rest()


# -- the reply


async def test_the_reply_is_the_response(world):
    request, response = await world.exchange(
        body=b"ping", reply=b"pong", http_status="201", content_type="text/x-pong", http_header_etag='"1"'
    )
    assert request.body == b"ping"
    assert (response.status, response.body) == (201, b"pong")
    assert response.get("content-type") == "text/x-pong"
    assert response.get("content-length") == "4"
    assert response.get("etag") == '"1"'
    assert response.get("correlation-id") == request.get("correlation-id")


@pytest.mark.parametrize("status", ["200", "299", "302", "400", "404", "499", "500", "503", "599"])
async def test_the_status_is_the_workers_also_when_it_is_an_error(world, status):
    _, response = await world.exchange(reply=b"x", http_status=status)
    assert (response.status, response.body) == (int(status), b"x")
    assert not response.is_problem


@pytest.mark.parametrize(
    ("text", "expected"), [(True, "text/plain; charset=utf-8"), (False, "application/octet-stream")]
)
async def test_without_a_content_type_the_kind_of_message_decides(world, text, expected):
    _, response = await world.exchange(reply=b"abc", text=text)
    assert (response.status, response.body) == (200, b"abc")
    if not world.profile.tells_text:
        expected = "text/plain; charset=utf-8"  # since it can be a text
    assert response.get("content-type") == expected


async def test_without_a_content_type_bytes_that_are_no_text_are_bytes(world):
    _, response = await world.exchange(reply=b"\xff\0", text=False)
    assert response.get("content-type") == "application/octet-stream"


async def test_stomps_own_content_type_counts_if_there_is_no_property(world):
    _, response = await world.exchange(reply=b"{}", text=True, **{"content-type": "application/json"})
    assert response.get("content-type") == "application/json"
    _, response = await world.exchange(
        reply=b"{}", text=True, content_type="application/ld+json", **{"content-type": "application/json"}
    )
    assert response.get("content-type") == "application/ld+json"


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", b"a\0b\0", bytes(range(256)) * 3, "käse 😀".encode(), b"\r\n\r\n", b"x" * MIB, b"\0" * (2 * MIB)],
    ids=["empty", "NUL", "NULs", "all bytes", "utf-8", "line feeds", "1 MiB", "max_reply"],
)
async def test_a_body_passes_byte_for_byte_both_ways(world, body):
    request, response = await world.exchange(body=body, reply=body)
    assert request.body == body
    assert response.body == body


@pytest.mark.parametrize("status", ["204", "205", "304"])
async def test_statuses_without_a_body_have_none(world, status):
    _, response = await world.exchange(http_status=status)
    assert (response.status, response.body) == (int(status), b"")
    assert response.get("content-type") is None


async def test_the_answer_to_head_has_the_headers_and_no_body(world):
    request, response = await world.exchange(call={"method": "HEAD"}, body=None, reply=b"not sent", content_type="a/b")
    assert request.get("http_method") == "HEAD"
    assert (response.status, response.body) == (200, b"")
    assert response.get("content-type") == "a/b"


async def test_only_headers_that_the_route_names_pass(world):
    _, response = await world.exchange(
        http_header_cache_control="no-cache, max-age=0",
        http_header_etag='W/"a:b\\c"',
        http_header_content_language="dé",
        http_header_set_cookie="stolen=1",
        http_header_transfer_encoding="chunked",
        http_header_connection="close",
        http_header_content_length="3",
        http_header_x_powered_by="worker",
        etag="bare",
        cookie="x",
    )
    assert response.status == 200
    assert response.get("cache-control") == "no-cache, max-age=0"
    assert response.get("etag") == 'W/"a:b\\c"'
    assert response.get("content-language").encode("latin-1") == "dé".encode()
    known = {"content-type", "content-length", "correlation-id", "server-timing", "cache-control", "etag"}
    assert {name for name, _ in response.headers} == known | {"content-language", "date"}


async def test_spaces_around_a_reply_header_are_taken_off(world):
    _, response = await world.exchange(reply=b"x", content_type=" text/x-a ", http_header_etag="\t1 ")
    assert (response.status, response.body) == (200, b"x")
    assert response.get("content-type") == "text/x-a"
    assert response.get("etag") == "1"


async def test_server_timing_has_the_workers_times_if_it_tells(world):
    _, response = await world.exchange(queue_ms="3", work_ms="12.5")
    names = [part.partition(";dur=") for part in response.get("server-timing").split(", ")]
    assert [name for name, _, _ in names] == ["bridge", "queue", "work"]
    assert [float(value) for _, _, value in names[1:]] == [3.0, 12.5]
    _, response = await world.exchange(queue_ms="soon", work_ms="-1")
    assert response.get("server-timing").startswith("bridge;dur=")
    assert "," not in response.get("server-timing")


async def test_correlation_ids_are_32_hex_digits_and_never_the_same(world):
    ids = [(await world.exchange())[1].get("correlation-id") for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)


# -- the request message


async def test_a_worker_sees_what_the_message_contract_says(world):
    before = time.time() * 1_000
    request, response = await world.exchange(
        "/echo?a=1&b=%20%00",
        b"hello",
        call={"headers": (("Content-Type", "text/plain"), ("Accept-Language", "de, en;q=0.5"), ("X-Shop-Id", "7"))},
    )
    after = time.time() * 1_000
    headers = request.headers
    clock = world.bridge.bridge.client.clock
    slack = clock.error_ms + 2  # of two roundings, and the echo's own error
    assert before + clock.offset_ms + 15_000 - slack <= int(headers["deadline_ms"])
    assert int(headers["deadline_ms"]) <= after + clock.offset_ms + 15_000 + slack
    assert headers["expires"] == headers["deadline_ms"]
    assert 0 < int(headers["budget_ms"]) <= 15_000
    assert headers["correlation-id"] == response.get("correlation-id")
    assert re.match(r"/remote-temp-queue/|bridge\.reply\.replies\.[0-9a-f]{32}$", headers["reply-to"])
    trace = headers["traceparent"]
    assert (trace[:3], trace[35], trace[52:]) == ("00-", "-", "-01")
    expected = {
        "destination": f"/queue/{world.queue('echo')}",
        "type": "echo",
        "priority": "4",
        "attempt": "1",
        "max_attempts": "3",
        "redeliver": "true",
        "max_reply": str(2 * MIB),
        "reply_kinds": "started",
        "started_after_ms": "50",
        "content_type": "text/plain",
        "http_method": "POST",
        "http_target": "/echo?a=1&b=%20%00",
        "http_header_accept_language": "de, en;q=0.5",
        "http_header_x_shop_id": "7",
    }
    assert {name: headers.get(name) for name in expected} == expected
    # The broker's own; Artemis also hands on a request's receipt, and tells each message's length.
    theirs = {"message-id", "subscription", "timestamp", "ack", "redelivered", "destination-type", "receipt"}
    theirs |= set() if world.profile.tells_text else {"content-length", "persistent"}
    dated = {"deadline_ms", "expires", "budget_ms", "correlation-id", "reply-to", "traceparent"}
    assert set(headers) - theirs == set(expected) | dated
    assert headers.get("persistent", "false") == "false"


async def test_path_parameters_and_an_escaped_unreserved_character(world):
    request, _ = await world.exchange("/th%75mb/120x80/co_ver-", queue="thumb")
    assert request.get("path_size") == "120x80"
    assert request.get("path_fit") == "co_ver-"
    assert request.get("http_target") == "/th%75mb/120x80/co_ver-"


async def test_a_routes_own_rules_are_in_the_message(world):
    request, _ = await world.exchange("/low", queue="low", call={"headers": (("Priority", "u=0"),)})
    assert request.get("persistent") == "true"
    assert request.get("redeliver") == "false"
    assert request.get("priority") == "5"


@pytest.mark.parametrize(
    ("content_type", "body", "is_text"),
    [
        ("application/json", b'{"a": 1}', True),
        ("application/json", '{"a": "käse"}'.encode(), True),
        ("application/json", b'{"a": "\xff"}', False),
        ("application/json", b'{"a": "\0"}', False),
        ("text/plain; charset=iso-8859-1", b"abc", False),
        ("application/octet-stream", b"abc", False),
        (None, b"abc", False),
        ("image/svg+xml", b"<svg/>", True),
    ],
)
async def test_text_is_a_text_message_and_all_else_is_bytes(world, content_type, body, is_text):
    headers = (("Content-Type", content_type),) if content_type else ()
    request, _ = await world.exchange(body=body, call={"headers": headers})
    # Classic hands a BytesMessage on with its length, a TextMessage without.
    if world.profile.tells_text:
        assert (request.get("content-length") is None) == is_text
    assert request.body == body
    assert request.get("content_type") == content_type


@pytest.mark.parametrize(("urgency", "priority"), list(enumerate([9, 7, 6, 4, 3, 2, 1, 0])))
async def test_priority(world, urgency, priority):
    request, _ = await world.exchange(call={"headers": (("Priority", f"u={urgency}, i"),)})
    assert request.get("priority") == str(priority)


async def test_a_trace_goes_to_the_worker_as_it_came(world):
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    request, _ = await world.exchange(
        call={"headers": (("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2"))}
    )
    assert request.get("traceparent") == parent
    assert request.get("tracestate") == "a=1, b=2"


async def test_prefer_wait_shortens_the_deadline_and_is_said_to_be_applied(world):
    request, response = await world.exchange(call={"headers": (("Prefer", "wait=7"),)})
    assert 6_000 < int(request.get("budget_ms")) <= 7_000
    assert response.get("preference-applied") == "wait=7"


async def test_prefer_wait_cannot_lengthen_it(world):
    request, _ = await world.exchange(call={"headers": (("Prefer", "wait=3600"),)})
    assert 14_000 < int(request.get("budget_ms")) <= 15_000


async def test_a_keep_alive_connection_serves_one_call_after_the_other(world):
    from tests.bridge.callers import Caller
    from tests.bridge.callers import request as encoded

    async with await Caller.connect(world.bridge.port) as caller:
        for number in range(3):
            await caller.send(encoded("/echo", b"%d" % number))
            message = await world.worker.request(world.queue("echo"))
            await world.worker.reply(message, message.body * 2)
            assert (await caller.response()).body == b"%d" % number * 2


async def test_replies_in_another_order_go_to_their_own_calls(world):
    calls = [asyncio.create_task(world.bridge.call(body=b"%d" % number)) for number in range(20)]
    requests = [await world.worker.request(world.queue("echo")) for _ in calls]
    for request in reversed(requests):
        await world.worker.reply(request, json.dumps([request.body.decode(), "!"]).encode())
    for number, response in enumerate(await asyncio.gather(*calls)):
        assert json.loads(response.body) == [str(number), "!"]
