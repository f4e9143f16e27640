"""Jobs with workers of the SDK: what they say reaches the readers, and a cancelled job stops or never runs."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import pytest

from activemq.errors import ConnectionLostError
from bridge.settings import Route
from consumers import Reply, Request, Worker
from tests.bridge.callers import PATIENCE, until
from tests.bridge.harness import running, settings_for, sqlite
from tests.bridge.jobs.world import ASYNC, Reader, key
from tests.system.test_stream import one_worker


@asynccontextmanager
async def bridges(broker: Any, folder: Any, queue: str, number: int = 1, **route: Any) -> Any:
    """So many bridges of one store, with one route `/q`."""
    from bridge.settings import Store

    routes = [Route(name="q", path="/q", queue=queue, **{"stream": True, **route})]
    settings = settings_for(broker, routes, store=Store(url=sqlite(folder)))
    async with running(settings, "uvicorn") as first:
        await until(lambda: first.bridge.jobs.ready, "jobs are ready")
        if number == 1:
            yield [first]
            return
        async with running(settings, "uvicorn") as second:
            await until(lambda: second.bridge.jobs.ready, "jobs are ready")
            yield [first, second]


async def accepted(bridge: Any, body: bytes = b"x") -> str:
    response = await bridge.call("/q", body, headers=(ASYNC,))
    assert response.status == 202, response
    return str(response.get("location"))


async def is_over(bridge: Any, location: str) -> dict[str, Any]:
    response = await bridge.call(location, None, method="GET", headers=(("Prefer", "wait=15"),))
    job = dict(json.loads(response.body))
    assert job["state"] not in ("queued", "running"), job
    return job


async def test_a_reader_follows_a_worker_in_its_order_at_two_bridges(
    broker: Any, queue: Any, working: Any, tmp_path: Any
) -> None:
    name = queue("follow")

    async def work(request: Request) -> Reply:
        for at in range(50):
            await request.chunk({"part": at})
            request.progress(at)
        return Reply(b"all", 201, "text/plain")

    async with bridges(broker, tmp_path, name, 2) as two, working(one_worker(name, work)):
        location = await accepted(two[0])
        async with Reader(two[0].port, f"{location}/events") as one, Reader(two[1].port, f"{location}/events") as other:
            found = [await one.rest(), await other.rest()]
        job = await is_over(two[1], location)
        gaps = [bridge.bridge.jobs._running.replies.counts.gaps for bridge in two]
    assert found[0] == found[1]
    assert [data["part"] for kind, _, data in found[0] if kind == "chunk"] == list(range(50))
    assert found[0][0] == ("started", 1, {"attempt": 1})
    assert found[0][-1][0] == "done"
    assert [number for _, number, _ in found[0]] == list(range(1, len(found[0]) + 1))
    assert (job["state"], job["attempts"], job["progress"], gaps) == ("done", 1, 49, [0, 0])


async def test_a_short_job_says_nothing_and_a_long_one_says_that_it_runs(
    broker: Any, queue: Any, working: Any, tmp_path: Any
) -> None:
    name, go_on = queue("started"), asyncio.Event()

    async def work(request: Request) -> str:
        if request.body == b"long":
            await go_on.wait()
        return "done"

    async with bridges(broker, tmp_path, name, stream=False) as (bridge,), working(one_worker(name, work)):
        short = await accepted(bridge, b"short")
        await is_over(bridge, short)
        assert bridge.bridge.jobs._running.replies.counts.noted == 0
        long = await accepted(bridge, b"long")
        async with Reader(bridge.port, f"{long}/events") as reader:
            assert await reader.next() == ("started", 1, {"attempt": 1})
            job = json.loads((await bridge.call(long, None, method="GET")).body)
            assert (job["state"], job["attempts"], job["progress"]) == ("running", 1, None)
            go_on.set()
            assert [kind for kind, _, _ in await reader.rest()] == ["done"]


async def test_a_worker_that_is_lost_in_mid_job_is_seen_by_who_follows_it(
    broker: Any, queue: Any, working: Any, tmp_path: Any
) -> None:
    name, began = queue("lost"), asyncio.Event()

    async def work(request: Request) -> str:
        await request.chunk(f"of {request.attempt}")
        if request.attempt == 1:
            began.set()
            await asyncio.sleep(60)
        return f"attempt {request.attempt}"

    async with bridges(broker, tmp_path, name, started="always") as (bridge,):
        location = await accepted(bridge)
        async with Reader(bridge.port, f"{location}/events") as reader, working(one_worker(name, work)) as lost:
            await began.wait()
            assert [await reader.next() for _ in range(2)] == [("started", 1, {"attempt": 1}), ("chunk", 2, "of 1")]
            lost._connection.abort(ConnectionLostError("cut by the test"))
            rest = await reader.rest()
        job = await is_over(bridge, location)
    assert [(kind, data) for kind, _, data in rest[:-1]] == [("started", {"attempt": 2}), ("chunk", "of 2")]
    assert (rest[-1][0], rest[-1][2]["body"]) == ("done", "attempt 2")
    assert job["attempts"] == 2


@pytest.mark.parametrize("keyed", [False, True])
async def test_delete_cancels_the_handler_that_runs_and_one_that_waits_never_runs(
    broker: Any, queue: Any, working: Any, tmp_path: Any, keyed: bool
) -> None:
    name, ran, cancelled = queue(f"delete.{keyed}"), [], asyncio.Event()

    async def work(request: Request) -> str:
        ran.append(request.body)
        if request.body == b"first":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise
        return "done"

    async def make(bridge: Any, body: bytes) -> str:
        headers = (ASYNC, key(body.decode())) if keyed else (ASYNC,)
        return str((await bridge.call("/q", body, headers=headers)).get("location"))

    async with bridges(broker, tmp_path, name) as (bridge,), working(one_worker(name, work)):
        first, second, third = [await make(bridge, body) for body in (b"first", b"second", b"third")]
        await until(lambda: ran == [b"first"], "the first runs")
        for location in (second, first):
            response = await bridge.call(location, None, method="DELETE")
            assert (response.status, response.get("job-state")) == (204, "cancelled")
        async with asyncio.timeout(PATIENCE):
            await cancelled.wait()
        assert (await is_over(bridge, third))["state"] == "done"
        assert ran == [b"first", b"third"]
        for location in (first, second):
            assert (await bridge.call(f"{location}/result", None, method="GET")).name == "job-cancelled"


async def test_a_worker_that_came_after_the_cancellation_is_told_when_it_begins(
    broker: Any, queue: Any, working: Any, tmp_path: Any
) -> None:
    name, cancelled = queue("born.later"), asyncio.Event()

    async def work(request: Request) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with bridges(broker, tmp_path, name) as (bridge,):
        location = await accepted(bridge)
        assert (await bridge.call(location, None, method="DELETE")).status == 204
        async with working(one_worker(name, work)):
            async with asyncio.timeout(PATIENCE):
                await cancelled.wait()


async def test_a_worker_is_not_slowed_by_a_store_of_its_words(
    broker: Any, queue: Any, working: Any, tmp_path: Any
) -> None:
    """Ten thousand words of progress become fewer events, and the last one is there."""
    name = queue("many")

    def work(request: Request) -> str:
        for at in range(10_000):
            request.progress(at)
        return "done"

    worker = Worker()
    worker.handler(name)(work)
    async with bridges(broker, tmp_path, name) as (bridge,), working(worker):
        location = await accepted(bridge)
        async with Reader(bridge.port, f"{location}/events") as reader:
            found = await reader.rest()
        job = await is_over(bridge, location)
    assert found[-1][0] == "done"
    assert (found[-2][0], found[-2][2], job["progress"]) == ("progress", 9_999, 9_999)
    assert len(found) < 10_000
