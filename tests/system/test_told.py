"""Callers and workers are told what became of the other: withdrawal, phases, lost workers, poison."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from activemq.errors import ConnectionLostError
from bridge.settings import Route
from consumers import Request, Worker
from tests.bridge.callers import Caller, request, until
from tests.bridge.harness import ToldWorker, running, settings_for

pytestmark = pytest.mark.every_broker


class Recorder:
    """A handler that notes what it ran and how it ended, and goes on when it is let."""

    def __init__(self) -> None:
        self.began: list[tuple[str, int]] = []
        self.ended: list[str] = []
        self.go_on = asyncio.Event()

    async def __call__(self, request: Request) -> str:
        self.began.append((request.text(), request.attempt))
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return f"{request.text()} {request.attempt}"


def worker_of(queue: str, handler: Any) -> Worker:
    worker = Worker()
    worker.handler(queue)(handler)
    return worker


async def lose(client: Any) -> None:
    """Cut a worker's connection, as its death would."""
    client._connection.abort(ConnectionLostError("cut by the test"))


async def test_of_500_queued_calls_that_are_aborted_none_runs(
    carrier: Any, queue: Any, working: Any, implementation: str
) -> None:
    name, recorder = queue("abort"), Recorder()
    route = Route(name="q", path="/q", queue=name, timeout=60.0)
    worker = worker_of(name, recorder)
    async with running(settings_for(carrier, [route]), implementation) as bridge, working(worker):
        callers = []
        for number in range(501):
            caller = await Caller.connect(bridge.port)
            await caller.send(request("/q", str(number).encode()))
            callers.append(caller)
            if not number:
                await until(lambda: recorder.began, "the first one runs")
        await bridge.held(501)
        for caller in callers[1:]:
            await caller.close()
        await bridge.held(1)
        recorder.go_on.set()
        assert (await callers[0].response()).body == b"0 1"
        await callers[0].close()
        await bridge.at_rest()
        await until(lambda: worker.counts.skipped == 500, "all withdrawn were skipped")
        assert [text for text, _ in recorder.began] == ["0"]


async def test_a_caller_who_leaves_stops_the_handler_that_runs(
    carrier: Any, queue: Any, working: Any, implementation: str
) -> None:
    name, recorder = queue("leave"), Recorder()
    route = Route(name="q", path="/q", queue=name)
    worker = worker_of(name, recorder)
    async with running(settings_for(carrier, [route]), implementation) as bridge, working(worker):
        caller = await Caller.connect(bridge.port)
        await caller.send(request("/q", b"x"))
        await until(lambda: recorder.began, "it runs")
        await caller.close()
        await until(lambda: recorder.ended == ["cancelled"], "it is cancelled")
        await until(lambda: worker.counts.cancelled == 1, "and counted")
        recorder.go_on.set()
        assert (await bridge.call("/q", b"next")).body == b"next 1"


async def test_a_thread_sees_that_its_call_is_cancelled(carrier: Any, queue: Any, working: Any) -> None:
    name, seen = queue("thread"), threading.Event()

    def patient(request: Request) -> str:
        while not request.cancelled:
            threading.Event().wait(0.01)
        seen.set()
        return "nobody reads this"

    worker = worker_of(name, patient)
    route = Route(name="q", path="/q", queue=name, timeout=0.3)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, working(worker):
        answer = await bridge.call("/q", b"x")
        assert answer.status == 504
        await until(seen.is_set, "the thread has seen it")
        await until(lambda: worker.counts.cancelled == 1, "and no reply was sent")


async def test_a_worker_that_was_born_after_the_cancellation_is_told_again(
    carrier: Any, queue: Any, working: Any
) -> None:
    name, recorder = queue("born.later"), Recorder()
    route = Route(name="q", path="/q", queue=name, timeout=30.0, started="always", worker_wait=30.0)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge:
        caller = await Caller.connect(bridge.port)
        await caller.send(request("/q", b"x"))
        await bridge.held(1)
        await caller.close()
        await bridge.at_rest()
        async with working(worker_of(name, recorder)):
            await until(lambda: recorder.ended == ["cancelled"], "it is cancelled")


async def test_a_deadline_says_how_far_the_work_had_come(carrier: Any, queue: Any, working: Any) -> None:
    asked, always, nobody = queue("phase.ask"), queue("phase.always"), queue("phase.nobody")
    routes = [
        Route(name="asked", path="/asked", queue=asked, timeout=0.5),
        Route(name="always", path="/always", queue=always, timeout=0.5, started="always"),
        Route(name="never", path="/never", queue=nobody, timeout=0.2, started="never"),
        Route(name="queued", path="/queued", queue=nobody, timeout=0.2, started="always"),
        Route(name="unknown", path="/unknown", queue=nobody, timeout=0.2),
    ]
    worker = Worker()
    for name in (asked, always):
        worker.handler(name)(Recorder())
    async with (
        running(settings_for(carrier, routes), "uvicorn") as bridge,
        working(worker),
        ToldWorker(carrier, nobody),  # takes what comes and says nothing
    ):
        expected = {
            "/asked": ("running", "yes"),
            "/always": ("running", "yes"),
            "/queued": ("queued", "no"),
            "/unknown": ("unknown", "maybe"),
            "/never": ("unknown", "maybe"),
        }
        for path, (phase, ran) in expected.items():
            problem = (await bridge.call(path, b"x")).problem
            assert (path, problem["phase"], problem["ran"]) == (path, phase, ran)


async def test_a_short_job_does_not_tell_that_it_has_begun(carrier: Any, queue: Any) -> None:
    """The bridge's side of it: a route that asks lets short jobs be silent, one that wants to know always is told."""
    name = queue("kinds")
    routes = [Route(name=s, path=f"/{s}", queue=name, timeout=5.0, started=s) for s in ("never", "ask", "always")]
    async with running(settings_for(carrier, routes), "uvicorn") as bridge, ToldWorker(carrier, name) as told:
        seen = {}
        for route in routes:
            call = asyncio.create_task(bridge.call(route.path, b"x"))
            message = await told.request(name)
            seen[route.name] = (message.get("reply_kinds"), message.get("started_after_ms"))
            await told.reply(message, b"done")
            assert (await call).status == 200
        assert seen == {"never": (None, None), "ask": ("started", "50"), "always": ("started", None)}


async def test_a_job_whose_worker_is_lost_goes_to_another_within_the_same_call(
    carrier: Any, queue: Any, working: Any, implementation: str
) -> None:
    name, first, second = queue("lost"), Recorder(), Recorder()
    route = Route(name="q", path="/q", queue=name, timeout=30.0)
    async with (
        running(settings_for(carrier, [route]), implementation) as bridge,
        working(worker_of(name, first)) as lost,
    ):
        call = asyncio.create_task(bridge.call("/q", b"x"))
        await until(lambda: first.began == [("x", 1)], "the first worker has it")
        async with working(worker_of(name, second)):
            await lost.stop()
            await until(lambda: second.began == [("x", 2)], "the other has it as its second attempt")
            second.go_on.set()
            answer = await call
            assert (answer.status, answer.body) == (200, b"x 2")
            first.go_on.set()


async def test_a_route_that_does_not_redeliver_says_at_once_that_its_worker_is_lost(
    carrier: Any, queue: Any, working: Any, implementation: str
) -> None:
    name, first, second = queue("once"), Recorder(), Recorder()
    route = Route(name="q", path="/q", queue=name, timeout=60.0, redeliver=False)
    async with (
        running(settings_for(carrier, [route]), implementation) as bridge,
        working(worker_of(name, first)) as lost,
    ):
        call = asyncio.create_task(bridge.call("/q", b"x"))
        await until(lambda: first.began, "the first worker has it")
        async with working(worker_of(name, second)):
            await lost.stop()
            answer = await call
        first.go_on.set()
        assert (answer.status, answer.problem["type"], answer.problem["ran"]) == (502, "/problems/worker-lost", "maybe")
        assert second.began == []


async def test_a_message_that_loses_its_workers_is_parked_and_its_caller_told(
    carrier: Any, queue: Any, working: Any
) -> None:
    name, recorders = queue("killer"), []
    route = Route(name="q", path="/q", queue=name, timeout=60.0, max_attempts=3, worker_wait=30.0)
    async with (
        running(settings_for(carrier, [route]), "uvicorn") as bridge,
        ToldWorker(carrier, f"{name}.poison") as parked,
    ):
        call = asyncio.create_task(bridge.call("/q", b"kills", headers=(("content-type", "text/plain"),)))
        for attempt in (1, 2, 3):
            recorder = Recorder()
            recorders.append(recorder)
            async with working(worker_of(name, recorder)) as client:
                await until(lambda r=recorder, a=attempt: r.began == [("kills", a)], f"attempt {attempt} runs")
                await lose(client)
                await client.stop()
                recorder.go_on.set()
        async with working(worker_of(name, Recorder())):
            answer = await call
            problem = answer.problem
            assert (answer.status, problem["type"], problem["ran"]) == (502, "/problems/poisoned", "maybe")
            assert problem["attempts"] == 3
            message = await parked.request(f"{name}.poison")
        assert (message.body, message.get("persistent")) == (b"kills", "true")
        assert message.get("expires") in (None, "0")
        assert message.get("reply-to") is None
        assert message.get("original_queue") == f"/queue/{name}"
        assert message.get("correlation-id") == problem["correlation_id"]
        assert message.get("http_target") == "/q"


async def test_a_reply_of_an_attempt_that_was_given_up_is_dropped(carrier: Any, queue: Any) -> None:
    name = queue("outdated")
    route = Route(name="q", path="/q", queue=name, timeout=30.0)
    async with running(settings_for(carrier, [route]), "uvicorn") as bridge, ToldWorker(carrier, name) as told:
        call = asyncio.create_task(bridge.call("/q", b"x"))
        message = await told.request(name)
        await told.reply(message, b"", reply_kind="started", attempt="2")
        await told.reply(message, b"of the first", attempt="1")
        await told.reply(message, b"of the second", attempt="2")
        assert (await call).body == b"of the second"
        assert bridge.bridge.exchange.counts.stray_replies == 1
