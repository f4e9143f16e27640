"""Answers in parts from a worker that does as it is told: what is wrong with one call is the end of that call alone."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from h2.errors import ErrorCodes

from activemq.testing import FakeBroker
from bridge.endpoints.stream import MAX_BEHIND
from bridge.events import MAX_EVENT
from bridge.settings import Route
from tests.bridge.callers import Caller, request, until
from tests.bridge.harness import Running, ToldWorker, running, settings_for
from tests.bridge.http2 import Streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activemq import Frame
    from bridge.settings import Settings

EVENTS = (("Accept", "text/event-stream"), ("Connection", "close"))
LEAVING = (("Connection", "close"),)
TOO_LARGE = 256 * 1024  # bytes


class World:
    """A bridge with one route `/q`, its worker, and one caller who reads to the end."""

    def __init__(self, bridge: Running, worker: ToldWorker) -> None:
        self.bridge = bridge
        self.worker = worker
        self.message: Frame
        self.caller: Caller

    async def begin(self, stream: bool | str, receive_buffer: int | None = None) -> None:
        self.caller = await Caller.connect(self.bridge.port, receive_buffer=receive_buffer)
        await self.caller.send(request("/q", b"x", headers=LEAVING if stream == "body" else EVENTS))
        self.message = await self.worker.request("q")

    async def tell(self, kind: str, body: bytes = b"", attempt: str = "1", **properties: str) -> None:
        await self.worker.reply(self.message, body, reply_kind=kind, attempt=attempt, **properties)

    async def end(self, body: bytes = b"", **properties: str) -> None:
        await self.worker.reply(self.message, body, **properties)

    async def rest(self) -> bytes:
        return await self.caller.ended()

    async def events(self) -> list[tuple[str, Any]]:
        """Read to the end; return the events as (event, data)."""
        body = b""
        for part in _dechunked((await self.rest()).partition(b"\r\n\r\n")[2]):
            body += part
        found = []
        for block in body.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            found.append((fields["event"], json.loads(fields["data"])))
        return found


def _dechunked(data: bytes) -> list[bytes]:
    parts = []
    while data:
        size, _, data = data.partition(b"\r\n")
        parts.append(data[: int(size, 16)])
        data = data[int(size, 16) + 2 :]
    return parts


def _settings(broker: FakeBroker, routes: list[Route], max_frame: int) -> Settings:
    settings = settings_for(broker, routes)
    return settings.model_copy(update={"broker": settings.broker.model_copy(update={"max_frame": max_frame})})


@asynccontextmanager
async def world(
    implementation: str,
    stream: bool | str,
    *,
    receive_buffer: int | None = None,
    max_frame: int = 4 << 20,
    **route: Any,
) -> AsyncIterator[World]:
    routes = [
        Route(name="q", path="/q", queue="q", stream=stream, **route),
        Route(name="other", path="/other", queue="other"),
    ]
    async with (
        FakeBroker() as broker,
        running(_settings(broker, routes, max_frame), implementation) as bridge,
        ToldWorker(broker, "q", "other") as worker,
    ):
        world = World(bridge, worker)
        await world.begin(stream, receive_buffer)
        async with world.caller:
            yield world
        await bridge.at_rest()


async def test_what_is_too_deep_for_a_json_parser_is_told_as_text_and_costs_nobody_a_connection(
    implementation: str,
) -> None:
    async with world(implementation, stream=True) as w:
        other = asyncio.create_task(w.bridge.call("/other", b"x"))
        message = await w.worker.request("other")
        for kind in ("progress", "chunk"):
            await w.tell(kind, b"[" * 20_000, content_type="application/json")
        await w.end(b"all")
        await w.worker.reply(message, b"fine")
        assert (await other).body == b"fine"
        events = await w.events()
    assert [(kind, data) for kind, data in events[:2]] == [("progress", "[" * 20_000), ("chunk", "[" * 20_000)]
    assert events[-1][0] == "done"


async def test_a_notice_that_cannot_be_read_ends_its_own_call_and_no_other(implementation: str) -> None:
    async with world(implementation, stream=True) as w:
        other = asyncio.create_task(w.bridge.call("/other", b"x"))
        message = await w.worker.request("other")
        held = w.bridge.bridge.exchange._held[w.message.get("correlation-id") or ""]

        def defect(_: Frame) -> None:
            raise RuntimeError("a defect")

        held.on_notice = defect
        await w.tell("progress", b"1", content_type="application/json")
        await w.worker.reply(message, b"fine")
        assert (await other).body == b"fine"
        [(kind, problem)] = await w.events()
    assert (kind, problem["type"]) == ("failed", "/problems/bad-reply")


async def test_a_chunk_that_no_frame_can_hold_ends_the_stream_and_progress_of_that_size_is_left_out(
    implementation: str,
) -> None:
    for stream in (True, "body"):
        async with world(implementation, stream=stream, max_frame=TOO_LARGE) as w:
            await w.tell("progress", b"x" * 2 * TOO_LARGE, content_type="text/plain")
            await w.tell("chunk", b"first", content_type="text/plain")
            await w.tell("chunk", b"x" * 2 * TOO_LARGE, content_type="text/plain")
            if stream is True:
                (chunk, problem) = await w.events()
                assert chunk == ("chunk", "first")
                assert (problem[0], problem[1]["type"]) == ("failed", "/problems/bad-reply")
            else:
                assert (await w.rest()).endswith(b"first\r\n")


@pytest.mark.parametrize("size", [MAX_EVENT - 1, MAX_EVENT, MAX_EVENT + 1])
async def test_an_event_s_limit_is_that_of_the_worker_s_bytes(implementation: str, size: int) -> None:
    text = "é" * ((size - 2) // 2)
    body = json.dumps(text, ensure_ascii=False).encode().ljust(size)
    async with world(implementation, stream=True) as w:
        await w.tell("progress", body, content_type="application/json")
        await w.tell("chunk", body, content_type="application/json")
        await w.end()
        events = await w.events()
    if size <= MAX_EVENT:
        assert events[:2] == [("progress", text), ("chunk", text)]
    else:
        assert [(kind, data["type"]) for kind, data in events] == [("failed", "/problems/bad-reply")]


@pytest.mark.parametrize("value", ["NaN", "[Infinity]", "1e999", '"\\ud800"'])
async def test_what_is_no_json_for_everybody_is_told_as_text(implementation: str, value: str) -> None:
    async with world(implementation, stream=True) as w:
        await w.tell("progress", value.encode(), content_type="application/json")
        await w.end()
        events = await w.events()
    assert events[0] == ("progress", value)


async def test_a_body_is_cut_when_another_attempt_begins(implementation: str) -> None:
    async with world(implementation, stream="body") as w:
        await w.tell("started")
        await w.tell("chunk", b"first,", content_type="text/plain")
        await w.tell("started", attempt="2")
        assert (await w.rest()).endswith(b"first,\r\n")


@pytest.mark.parametrize("final", [{"attempt": "2"}, {"http_status": "500"}, {"http_status": "404", "attempt": "1"}])
async def test_a_reply_that_is_not_the_end_of_the_parts_cuts_them(implementation: str, final: dict[str, str]) -> None:
    async with world(implementation, stream="body") as w:
        await w.tell("chunk", b"first,", content_type="text/plain")
        await w.end(b"another", **final)
        assert (await w.rest()).endswith(b"first,\r\n")


@pytest.mark.parametrize("final", [{}, {"attempt": "1"}, {"http_status": "201"}])
async def test_a_reply_of_the_same_attempt_is_the_end_of_the_parts(implementation: str, final: dict[str, str]) -> None:
    async with world(implementation, stream="body") as w:
        await w.tell("chunk", b"first,", content_type="text/plain")
        await w.end(b"last", **final)
        assert (await w.rest()).endswith(b"4\r\nlast\r\n0\r\n\r\n")


async def test_a_body_of_a_second_attempt_alone_is_whole(implementation: str) -> None:
    async with world(implementation, stream="body") as w:
        await w.tell("started")
        await w.tell("started", attempt="2")
        await w.tell("chunk", b"first,", attempt="2", content_type="text/plain")
        await w.end(b"last", attempt="2")
        assert (await w.rest()).endswith(b"4\r\nlast\r\n0\r\n\r\n")


async def test_a_single_part_may_be_larger_than_what_may_wait(implementation: str) -> None:
    async with world(implementation, stream="body") as w:
        await w.tell("chunk", b"x" * (MAX_BEHIND + 1), content_type="text/plain")
        await w.end(b"last")
        head, _, body = (await w.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"".join(_dechunked(body)) == b"x" * (MAX_BEHIND + 1) + b"last"


async def test_a_body_that_is_cut_resets_its_http_2_stream_and_no_other() -> None:
    route = Route(name="q", path="/q", queue="q", stream="body")
    async with (
        FakeBroker() as broker,
        running(settings_for(broker, [route], http2=True), "hypercorn") as bridge,
        ToldWorker(broker, "q") as worker,
    ):
        streams = await Streams.connect(bridge.port)
        cut, whole = streams.request("/q"), streams.request("/q")
        messages = [await worker.request("q") for _ in range(2)]
        for message in messages:
            await worker.reply(message, b"part,", reply_kind="chunk", content_type="text/plain")
        await until(lambda: streams.bodies == {cut: b"part,", whole: b"part,"}, "the first parts")
        await worker.reply(messages[0], problem="worker-failed")
        await until(lambda: cut in streams.resets, "the stream is reset")
        assert streams.resets == {cut: ErrorCodes.INTERNAL_ERROR}
        await worker.reply(messages[1], b"end")
        assert (await streams.answer(whole))[1] == b"part,end"
        again = streams.request("/q")
        await worker.reply(await worker.request("q"), b"as usual")
        assert (await streams.answer(again))[1] == b"as usual"
        assert (streams.resets.keys(), streams.closed) == ({cut}, False)
        await streams.close()
        await bridge.at_rest()


async def _stall(w: World) -> None:
    """Let the worker send more than all buffers on the way hold."""
    for _ in range(200):
        await w.tell("progress", json.dumps("x" * 60_000).encode(), content_type="application/json")


@pytest.mark.parametrize("end", ["deadline", "reply"])
async def test_a_reader_who_has_stopped_is_given_up_a_while_after_the_end(
    implementation: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.endpoints.stream.GRACE", 0.2)
    async with world(implementation, True, receive_buffer=4096, timeout=1.5 if end == "deadline" else 30.0) as w:
        await _stall(w)
        if end == "reply":
            await w.end(b"all")
        await until(lambda: not w.bridge.leftovers["held"], "the call is given up")
        assert not w.bridge.leftovers["memory"]
        rest = await w.rest()
    assert b"event: done" not in rest
    assert b"event: failed" not in rest


async def test_the_worker_of_a_reader_who_has_stopped_is_told_at_the_deadline(implementation: str) -> None:
    async with world(implementation, True, receive_buffer=4096, timeout=1.5) as w:
        await _stall(w)
        assert 0 < w.bridge.leftovers["memory"] <= MAX_BEHIND
        call = w.bridge.bridge._call
        assert call is not None
        withdrawals = call.link._withdrawals
        await until(lambda: withdrawals.sent == 1, "the worker is told")
        assert w.bridge.leftovers["held"] == 1
        assert b"event: failed" in await w.rest()
        assert withdrawals.sent == 1
