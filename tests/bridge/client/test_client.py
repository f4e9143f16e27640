"""The client at real bridges on a real broker, both kinds of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from bridge.client import BearerKey, JobError, new_key, problem_of
from bridge.settings import Caller, Route, Store
from tests.bridge.callers import PATIENCE, until
from tests.bridge.client.either import KINDS, either
from tests.bridge.harness import ToldWorker, running, settings_for, sqlite
from tests.bridge.processes import Process
from tests.databases import free_port

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def at(*bridges):
    return [f"http://127.0.0.1:{bridge.port}" for bridge in bridges]


@asynccontextmanager
async def bridges(broker, queue, folder, number=2, **options):
    """Bridges of one store in this process, and a worker that does as it is told."""
    routes = [
        Route(name="echo", path="/echo", queue=queue("client"), timeout=15.0, job_timeout=60.0, stream=True),
        Route(name="held", path="/held", queue=queue("client"), async_="never", idempotency="off"),
    ]
    async with AsyncExitStack() as stack:
        settings = settings_for(broker, routes, store=Store(url=sqlite(folder)), drain=20.0)
        settings = settings.model_copy(update=options)
        worker = await stack.enter_async_context(ToldWorker(broker, queue("client")))
        yield worker, [await stack.enter_async_context(running(settings, "uvicorn")) for _ in range(number)]


@asynccontextmanager
async def processes(broker, queue, folder, stream="true"):
    """Two bridges of one store that can be killed, and a worker that does as it is told."""
    found = [Process(broker, folder, queue("client"), name, route=f"stream = {stream}\n") for name in ("one", "two")]
    try:
        await asyncio.gather(*(one.start() for one in found))
        async with ToldWorker(broker, queue("client")) as worker:
            yield worker, found
    finally:
        for one in found:
            one.kill()


async def begin(awaitable):
    return asyncio.create_task(awaitable)


async def test_a_held_call_finds_the_bridge_that_is_there(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 1) as (worker, found):
        addresses = [f"http://127.0.0.1:{free_port()}", *at(*found)]
        async with either(kind, addresses) as client:
            calling = await begin(client.request("POST", "/held?q=1", content=b"body"))
            request = await worker.request(queue("client"))
            assert request.body == b"body"
            await worker.reply(request, b"answer", http_status="201")
            response = await calling
    assert (response.status_code, response.content) == (201, b"answer")


async def test_a_call_that_becomes_a_job_is_followed_to_its_answer(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 2) as (worker, found), either(kind, at(*found)) as client:
        calling = await begin(client.call("POST", "/echo", content=b"body", headers=ASYNC))
        await worker.reply(await worker.request(queue("client")), b"its own 202", http_status="202")
        response = await calling
        assert (response.status_code, response.content) == (202, b"its own 202")
        assert response.headers["job-state"] == "done"


async def test_a_keyed_call_whose_time_is_over_is_followed_to_its_answer(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 1) as (worker, found), either(kind, at(*found)) as client:
        headers = {"Idempotency-Key": new_key(), "Prefer": "wait=1"}
        held = await client.request("POST", "/echo", headers=headers)
        assert problem_of(held)["name"] == "deadline"
        following = await begin(client.do(client.client.follow, held))
        await worker.reply(await worker.request(queue("client")), b"late")
        assert (await following).content == b"late"


async def test_an_answer_that_is_no_open_jobs_is_not_followed(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 1) as (_, found), either(kind, at(*found)) as client:
        response = await client.call("POST", "/nowhere")
        assert problem_of(response)["name"] == "no-route"


async def test_a_job_that_outlives_the_deadline_goes_on(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 1) as (worker, found), either(kind, at(*found)) as client:
        job = await client.submit("POST", "/echo", idempotency_key=new_key())
        with pytest.raises(httpx.ReadTimeout):
            await client.do(job.result, deadline=0.2)
        with pytest.raises(httpx.ReadTimeout):
            await client.events(job, deadline=0.2)
        await worker.reply(await worker.request(queue("client")), b"answer")
        assert (await client.do(job.result)).content == b"answer"
        assert (await client.do(job.state))["state"] == "done"


async def test_the_same_key_is_the_same_job(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 1) as (worker, found), either(kind, at(*found)) as client:
        key = new_key()
        jobs = [await client.submit("POST", "/echo", idempotency_key=key, content="x") for _ in range(2)]
        await worker.reply(await worker.request(queue("client")), b"answer")
        await client.do(jobs[0].result)
        jobs.append(await client.submit("POST", "/echo", idempotency_key=key, content="x"))
        assert len({job.id for job in jobs}) == 1
        assert worker.waiting(queue("client")) == 0


async def test_a_job_is_followed_event_by_event(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 1) as (worker, found), either(kind, at(*found)) as client:
        job = await client.submit("POST", "/echo", json={"n": 1}, headers={"X-Other": "1"})
        reading = await begin(client.events(job))
        request = await worker.request(queue("client"))
        assert json.loads(request.body) == {"n": 1}
        await worker.reply(request, b"1", reply_kind="progress", sequence="1", content_type="application/json")
        await worker.reply(request, b"answer", sequence="2")
        events = await reading
        assert [(event.name, event.id) for event in events] == [("started", 1), ("progress", 2), ("done", 3)]
        assert events[-1].data["body"] == "answer"
        assert [event.id for event in await client.events(job, after=1)] == [2, 3]
        assert await client.events(job, after=3) == []
        with pytest.raises(JobError, match="400 invalid-request"):
            await client.events(job, after=9)


async def test_a_job_is_cancelled_once(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 1) as (_, found), either(kind, at(*found)) as client:
        job = await client.submit("POST", "/echo")
        assert await client.do(job.cancel)
        assert await client.do(job.cancel)
        assert problem_of(await client.do(job.result))["name"] == "job-cancelled"
        assert [event.name for event in await client.events(job)] == ["failed"]


async def test_what_is_over_is_not_cancelled(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 1) as (worker, found), either(kind, at(*found)) as client:
        job = await client.submit("POST", "/echo", content=b"over")
        while (request := await worker.request(queue("client"))).body != b"over":
            pass  # the cancelled one of another test
        await worker.reply(request, b"")
        await client.do(job.result)
        assert not await client.do(job.cancel)


async def test_a_bridge_that_drains_hands_its_waiters_to_the_other(kind, broker, queue, tmp_path):
    async with bridges(broker, queue, tmp_path, 2) as (worker, found), either(kind, at(*found)) as client:
        job = await client.submit("POST", "/echo")
        waiting, reading = await begin(client.do(job.result)), await begin(client.events(job))
        request = await worker.request(queue("client"))
        await worker.reply(request, b"1", reply_kind="progress", sequence="1", content_type="application/json")
        await until(lambda: len(found[0].bridge.jobs.followers) == 1, "a reader")
        found[0].stopping.set()
        await asyncio.wait_for(asyncio.shield(found[0].served), PATIENCE)
        await worker.reply(request, b"answer", sequence="2")
        assert (await waiting).content == b"answer"
        assert [event.id for event in await reading] == [1, 2, 3]


async def test_callers_show_their_key(kind, broker, queue, tmp_path):
    callers = (Caller(name="shop", key_sha256=hashlib.sha256(b"mqb_key").hexdigest(), routes=("echo",)),)
    async with bridges(broker, queue, tmp_path, 1, callers=callers) as (worker, found):
        async with either(kind, at(*found), auth=BearerKey("mqb_key")) as client:
            calling = await begin(client.call("POST", "/echo", headers=ASYNC))
            request = await worker.request(queue("client"))
            assert request.get("caller") == "shop"
            await worker.reply(request, b"answer")
            assert (await calling).content == b"answer"
        async with either(kind, at(*found)) as client:
            assert (await client.call("POST", "/echo")).status_code == 401


# -- of two bridges one is killed


@pytest.mark.slow
async def test_a_keyed_call_survives_its_bridge_and_runs_once(kind, broker, queue, tmp_path):
    async with processes(broker, queue, tmp_path) as (worker, found), either(kind, at(*found)) as client:
        calling = await begin(client.call("POST", "/echo", content=b"x", headers={"Idempotency-Key": new_key()}))
        request = await worker.request(queue("client"))
        found[0].kill()
        await worker.reply(request, b"answer", persistent="true")
        response = await calling
        assert (response.status_code, response.content) == (200, b"answer")
        assert worker.waiting(queue("client")) == 0


@pytest.mark.slow
async def test_a_call_without_a_key_is_not_run_twice_although_its_bridge_is_killed(kind, broker, queue, tmp_path):
    async with processes(broker, queue, tmp_path) as (worker, found), either(kind, at(*found)) as client:
        calling = await begin(client.call("POST", "/echo", content=b"x"))
        await worker.request(queue("client"))
        found[0].kill()
        with pytest.raises(httpx.TransportError):
            await calling
        second = await begin(client.call("POST", "/echo", content=b"y"))  # and the next one finds the other
        request = await worker.request(queue("client"))
        assert request.body == b"y"
        await worker.reply(request, b"answer")
        assert (await second).content == b"answer"


@pytest.mark.slow
async def test_events_go_on_behind_the_last_one_although_their_bridge_is_killed(kind, broker, queue, tmp_path):
    async with processes(broker, queue, tmp_path) as (worker, found), either(kind, at(*found)) as client:
        job = await client.submit("POST", "/echo", idempotency_key=new_key())
        request = await worker.request(queue("client"))

        async def tell(number):
            headers = {"reply_kind": "chunk", "sequence": str(number), "content_type": "application/json"}
            await worker.reply(request, b"%d" % number, persistent="true", **headers)

        seen = []
        reading = await begin(client.events(job, seen))
        for number in (1, 2):
            await tell(number)
        await until(lambda: len(seen) == 3, "two parts are read")
        found[0].kill()
        for number in (3, 4):
            await tell(number)
        await worker.reply(request, b"end", sequence="5", persistent="true")
        events = await reading
        assert [event.id for event in events] == [1, 2, 3, 4, 5, 6]
        assert [event.data for event in events[1:-1]] == [1, 2, 3, 4]
        assert (await client.do(job.result)).content == b"end"
