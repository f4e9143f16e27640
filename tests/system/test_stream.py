"""Answers in parts: events on a held call, and one body as it comes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from activemq.errors import ConnectionLostError
from bridge.settings import Route
from consumers import Reply, Request, Worker
from tests.bridge.callers import Caller, request, until
from tests.bridge.harness import ToldWorker, running, settings_for

pytestmark = pytest.mark.every_broker

LEAVING = (("Accept", "text/event-stream"), ("Connection", "close"))
EVENTS = {"accept": "text/event-stream", "content-type": "text/plain"}


async def read_events(port: int, path: str, body: bytes = b"x", headers: dict[str, str] | None = None) -> Any:
    """Make a call and return its response and its events as (event, id, data)."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20.0) as client,
        client.stream("POST", f"http://127.0.0.1:{port}{path}", content=body, headers=headers or EVENTS) as response,
    ):
        text = (await response.aread()).decode()
    return response, events_of(text)


def events_of(text: str) -> list[tuple[str, int, Any]]:
    found = []
    for block in text.split("\n\n")[:-1]:
        if not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            found.append((fields["event"], int(fields["id"]), json.loads(fields["data"])))
    return found


def one_worker(queue: str, handler: Any) -> Worker:
    worker = Worker()
    worker.handler(queue)(handler)
    return worker


async def test_a_caller_follows_a_job_from_its_start_to_its_reply(
    carrier: Any, queue: Any, working: Any, implementation: str
) -> None:
    name = queue("events")

    async def work(request: Request) -> Reply:
        request.progress({"percent": 50})
        await request.chunk("half")
        await request.chunk({"more": 1})
        await request.chunk(b"\xff\x00")
        return Reply(b"all", 201, "text/plain", {"cache-control": "no-cache"})

    route = Route(name="q", path="/q", queue=name, stream=True)
    async with running(settings_for(carrier, [route]), implementation) as bridge, working(one_worker(name, work)):
        response, events = await read_events(bridge.port, "/q")
        await bridge.at_rest()
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert len(response.headers["correlation-id"]) == 32
    assert events == [
        ("started", 1, {"attempt": 1}),
        ("progress", 2, {"percent": 50}),
        ("chunk", 3, "half"),
        ("chunk", 4, {"more": 1}),
        ("chunk", 5, {"body_base64": "/wA="}),
        (
            "done",
            6,
            {"status": 201, "content_type": "text/plain", "headers": {"cache-control": "no-cache"}, "body": "all"},
        ),
    ]


async def test_a_caller_who_does_not_ask_for_events_gets_the_reply_alone(
    carrier: Any, queue: Any, working: Any
) -> None:
    name = queue("plain")

    async def work(request: Request) -> str:
        request.progress(1)
        await request.chunk("nobody sees this")
        return "the reply"

    route = Route(name="q", path="/q", queue=name, stream=True)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, working(one_worker(name, work)):
        assert (await bridge.call("/q", b"x")).body == b"the reply"
        assert bridge.bridge.exchange.counts.stray_replies == 0


async def test_a_thread_tells_its_progress_and_sends_parts(carrier: Any, queue: Any, working: Any) -> None:
    name = queue("thread")

    def work(request: Request) -> str:
        for step in range(3):
            request.progress(step)
        request.chunk_from_thread("part")
        return "done"

    route = Route(name="q", path="/q", queue=name, stream=True)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, working(one_worker(name, work)):
        _, events = await read_events(bridge.port, "/q")
    assert [(kind, data) for kind, _, data in events[1:-1]] == [
        ("progress", 0),
        ("progress", 1),
        ("progress", 2),
        ("chunk", "part"),
    ]


@pytest.mark.parametrize("ending", ["failed handler", "deadline"])
async def test_the_end_is_always_said(carrier: Any, queue: Any, working: Any, ending: str) -> None:
    name = queue(f"end.{ending[:4]}")

    async def work(request: Request) -> str:
        if ending == "deadline":
            await asyncio.sleep(60)
        raise ValueError("no")

    route = Route(name="q", path="/q", queue=name, stream=True, timeout=0.5 if ending == "deadline" else 20.0)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, working(one_worker(name, work)):
        _, events = await read_events(bridge.port, "/q")
    kind, _, problem = events[-1]
    assert kind == "failed"
    assert problem["type"] == f"/problems/{'deadline' if ending == 'deadline' else 'worker-failed'}"
    assert problem["ran"] == "yes"


async def test_the_loss_of_the_broker_ends_a_stream_with_its_problem(own_broker: Any, queue: Any, working: Any) -> None:
    broker, name, began = await own_broker(), queue("broker"), asyncio.Event()

    async def work(request: Request) -> None:
        began.set()
        await asyncio.sleep(60)

    route = Route(name="q", path="/q", queue=name, stream=True)
    async with running(settings_for(broker, [route]), "uvicorn") as bridge:
        told = ToldWorker(broker, name)
        async with told:
            call = asyncio.create_task(read_events(bridge.port, "/q"))
            await told.request(name)
            await broker.kill()
            _, events = await call
    assert [(kind, data["type"]) for kind, _, data in events] == [("failed", "/problems/broker-lost")]


async def test_a_refusal_before_the_message_is_a_plain_problem(carrier: Any, queue: Any) -> None:
    route = Route(name="q", path="/q", queue=queue("refused"), stream=True, max_body=1)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge:
        answer = await bridge.call("/q", b"xx", headers=(("accept", "text/event-stream"),))
    assert (answer.status, answer.name) == (413, "body-too-large")


async def test_a_second_attempt_begins_again_and_says_so(carrier: Any, queue: Any, working: Any) -> None:
    name = queue("attempts")
    route = Route(name="q", path="/q", queue=name, stream=True)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, ToldWorker(carrier, name) as told:
        call = asyncio.create_task(read_events(bridge.port, "/q"))
        message = await told.request(name)
        for kind, attempt, body in [
            ("started", "1", b""),
            ("progress", "1", b"10"),
            ("started", "2", b""),
            ("progress", "1", b"11"),
            ("progress", "2", b"5"),
        ]:
            await told.reply(message, body, reply_kind=kind, attempt=attempt, content_type="application/json")
        await told.reply(message, b"ok", attempt="2")
        _, events = await call
    assert [(kind, data) for kind, _, data in events[:-1]] == [
        ("started", {"attempt": 1}),
        ("progress", 10),
        ("started", {"attempt": 2}),
        ("progress", 5),
    ]


async def test_a_body_comes_in_parts_with_the_head_of_the_first(
    carrier: Any, queue: Any, working: Any, implementation: str
) -> None:
    name, go_on = queue("body"), asyncio.Event()

    async def work(request: Request) -> Reply:
        await request.chunk(b"one,", content_type="text/csv", status=203)
        await go_on.wait()
        await request.chunk(b"two,")
        return Reply(b"three")

    route = Route(name="q", path="/q", queue=name, stream="body")
    async with (
        running(settings_for(carrier, [route]), implementation) as bridge,
        working(one_worker(name, work)),
        httpx.AsyncClient(trust_env=False, timeout=20.0) as client,
        client.stream("POST", f"http://127.0.0.1:{bridge.port}/q", content=b"x") as response,
    ):
        assert (response.status_code, response.headers["content-type"]) == (203, "text/csv")
        parts = response.aiter_raw()
        assert await anext(parts) == b"one,"
        go_on.set()
        assert b"".join([part async for part in parts]) == b"two,three"


async def test_a_streamed_route_whose_worker_sends_no_part_answers_as_usual(
    carrier: Any, queue: Any, working: Any
) -> None:
    name = queue("whole")

    async def work(request: Request) -> Reply:
        return Reply(b"whole", 201, "text/plain")

    route = Route(name="q", path="/q", queue=name, stream="body")
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, working(one_worker(name, work)):
        answer = await bridge.call("/q", b"x")
    assert (answer.status, answer.body, answer.get("content-length")) == (201, b"whole", "5")


async def test_a_body_whose_worker_is_lost_is_cut_and_never_spliced(
    carrier: Any, queue: Any, working: Any, implementation: str
) -> None:
    name, began, go_on = queue("cut"), [], asyncio.Event()

    async def work(request: Request) -> bytes:
        began.append(request.attempt)
        await request.chunk(b"of attempt %d," % request.attempt)
        if request.attempt == 1:
            await go_on.wait()
        return b"the end"

    route = Route(name="q", path="/q", queue=name, stream="body")
    async with (
        running(settings_for(carrier, [route]), implementation) as bridge,
        working(one_worker(name, work), 2) as lost,
        await Caller.connect(bridge.port) as caller,
    ):
        await caller.send(request("/q", b"x"))
        await caller.raw_until(b"of attempt 1,")
        lost._connection.abort(ConnectionLostError("cut by the test"))
        await until(lambda: began == [1, 2], "another takes it")
        rest = await caller.ended()
        go_on.set()
        assert b"attempt 2" not in rest
        assert b"0\r\n\r\n" not in rest


async def test_a_reader_that_is_too_far_behind_loses_progress_but_not_the_end(
    carrier: Any, queue: Any, implementation: str
) -> None:
    name = queue("slow.progress")
    route = Route(name="q", path="/q", queue=name, stream=True)
    async with (
        running(settings_for(carrier, [route]), implementation) as bridge,
        ToldWorker(carrier, name) as told,
        await Caller.connect(bridge.port, receive_buffer=4096) as caller,
    ):
        await caller.send(request("/q", b"x", headers=LEAVING))
        message = await told.request(name)
        value = json.dumps("p" * 60_000).encode()
        for _ in range(200):  # 12 MB, more than all buffers on the way
            await told.reply(message, value, reply_kind="progress", content_type="application/json")
        await told.reply(message, b"all")
        rest = await caller.ended()
        assert rest.startswith(b"HTTP/1.1 200")
        assert rest.count(b"event: progress") < 200
        assert b"event: done" in rest


async def test_a_stream_of_chunks_that_would_have_a_hole_ends_with_its_problem(carrier: Any, queue: Any) -> None:
    name = queue("slow.chunks")
    route = Route(name="q", path="/q", queue=name, stream=True)
    async with (
        running(settings_for(carrier, [route]), "uvicorn") as bridge,
        ToldWorker(carrier, name) as told,
        await Caller.connect(bridge.port, receive_buffer=4096) as caller,
    ):
        await caller.send(request("/q", b"x", headers=LEAVING))
        message = await told.request(name)
        value = json.dumps("c" * 60_000).encode()
        for _ in range(200):
            await told.reply(message, value, reply_kind="chunk", content_type="application/json")
        rest = await caller.ended()
        assert b"event: failed" in rest
        assert b"/problems/slow-reader" in rest


async def test_a_caller_who_leaves_a_stream_stops_its_worker(carrier: Any, queue: Any, working: Any) -> None:
    name, ended = queue("leave"), []

    async def work(request: Request) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    route = Route(name="q", path="/q", queue=name, stream=True)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, working(one_worker(name, work)):
        caller = await Caller.connect(bridge.port)
        await caller.send(request("/q", b"x", headers=(("Accept", "text/event-stream"),)))
        await caller.raw_until(b"event: started")
        await caller.close()
        await until(lambda: ended == ["cancelled"], "the handler is cancelled")
        await bridge.at_rest()
