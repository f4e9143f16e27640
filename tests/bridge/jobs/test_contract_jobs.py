"""`Prefer: respond-async` and `/jobs/{id}`, row by row, over HTTP and a real ActiveMQ."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from tests.bridge.callers import Caller, until
from tests.bridge.callers import request as encoded
from tests.bridge.jobs.world import ASYNC, TIME, a_world, key

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.every_broker]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker, implementation, queue):
    async with a_world(broker, queue, implementation) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    await world.forget()
    yield
    await world.bridge.at_rest()
    assert not world.bridge.bridge.jobs._waiting


# -- making one


async def test_respond_async_is_answered_202_at_once(world):
    response = await world.post("/echo", b"x", ASYNC)
    assert response.status == 202
    job = json.loads(response.body)
    assert response.get("location") == f"/jobs/{job['id']}"
    assert response.get("correlation-id") == job["id"]
    assert response.get("job-state") == job["state"] == "queued"
    assert response.get("preference-applied") == "respond-async"
    assert response.get("cache-control") == "no-store"
    assert response.get("content-type") == "application/json"
    assert list(job) == [
        "id", "route", "state", "created", "started", "finished", "attempts", "progress", "links",
    ]  # fmt: skip
    assert (job["route"], job["started"], job["finished"], job["attempts"]) == ("echo", None, None, 0)
    assert TIME.fullmatch(job["created"])
    assert job["links"]["self"] == f"/jobs/{job['id']}"


async def test_the_message_is_persistent_and_has_the_jobs_time_and_the_durable_reply_queue(world):
    location = await world.accepted("/quick", b"hello", ASYNC, ("Accept-Language", "de"), ("Priority", "u=1"))
    request = await world.request("quick")
    headers = request.headers
    bridge = world.bridge.bridge
    reply_to = bridge.client.profile.durable_reply_to(f"bridge.replies.{bridge.jobs._store.id}")
    expected = {
        "correlation-id": location.rpartition("/")[2],
        "reply-to": reply_to,
        "persistent": "true",
        "type": "quick",
        "priority": "7",
        "attempt": "1",
        "max_attempts": "3",
        "redeliver": "false",
        "http_method": "POST",
        "http_target": "/quick",
        "http_header_accept_language": "de",
    }
    assert {name: headers.get(name) for name in expected} == expected
    assert request.body == b"hello"
    assert 595_000 < int(headers["budget_ms"]) <= 600_000
    assert headers["expires"] == headers["deadline_ms"]
    assert headers["traceparent"].startswith("00-")
    assert "idempotency_key" not in headers
    assert "caller" not in headers


@pytest.mark.parametrize("prefer", ["respond-async, wait=5", "wait=5, respond-async", "wait=5, RESPOND-ASYNC"])
async def test_respond_async_with_wait_is_held_and_answered_if_the_reply_comes(world, prefer):
    calling = world.begin("/echo", b"x", ("Prefer", prefer))
    await world.worker.reply(await world.request(), b"there", text=True, http_status="201")
    response = await calling
    assert (response.status, response.body) == (201, b"there")
    assert response.get("preference-applied") == "wait=5"
    assert response.get("job-state") == "done"


async def test_respond_async_with_wait_is_202_when_the_time_is_over_and_the_job_goes_on(world):
    response = await world.post("/echo", b"x", ("Prefer", "respond-async, wait=1"))
    assert response.status == 202
    assert response.get("preference-applied") == "respond-async, wait=1"
    await world.worker.reply(await world.request(), b"later")
    await world.is_over(response.get("location"))
    assert (await world.get(response.get("location") + "/result")).body == b"later"


async def test_wait_is_never_longer_than_the_routes_timeout(world):
    response = await world.post("/quick", b"x", ("Prefer", "respond-async, wait=3600"))
    assert response.status == 202


@pytest.mark.parametrize(
    "prefer", ["respond-async, wait=0", "respond-async, wait=-1", "respond-async, wait=soon", "respond-async, wait"]
)
async def test_a_malformed_wait_beside_respond_async_is_ignored(world, prefer):
    response = await world.post("/echo", b"x", ("Prefer", prefer))
    assert (response.status, response.get("preference-applied")) == (202, "respond-async")


@pytest.mark.parametrize("prefer", ["respond-asynchronously", "async", 'x="respond-async"', "no-respond-async"])
async def test_what_only_looks_like_respond_async_is_a_held_call(world, prefer):
    calling = world.begin("/echo", b"x", ("Prefer", prefer))
    request = await world.request()
    assert "bridge.replies." not in request.get("reply-to")
    await world.worker.reply(request, b"held")
    assert (await calling).body == b"held"


async def test_a_reply_at_the_very_moment_of_the_202_is_not_lost(world):
    for delay in (0.3, 0.35, 0.38, 0.4, 0.42):  # the route's timeout is 0.4 s
        calling = world.begin("/quick", b"x", ("Prefer", "respond-async, wait=5"))
        request = await world.request("quick")
        await asyncio.sleep(delay)
        await world.worker.reply(request, b"just now", text=True)
        response = await calling
        if response.status == 202 and response.get("content-type") == "application/json":
            await world.is_over(response.get("location"))
            response = await world.get(response.get("location") + "/result")
        assert (response.status, response.body) == (200, b"just now")


async def test_a_route_that_is_never_asynchronous_holds(world):
    calling = world.begin("/never", b"x", ASYNC)
    await world.worker.reply(await world.request("never"), b"held")
    response = await calling
    assert (response.status, response.get("preference-applied"), response.get("job-state")) == (200, None, None)


async def test_a_route_that_is_always_asynchronous(world):
    response = await world.post("/always", b"x")
    assert (response.status, response.get("preference-applied")) == (202, None)
    assert (await world.get(response.get("location"))).status == 200
    await world.request("always")
    calling = world.begin("/always", b"x", ("Prefer", "wait=8"))
    await world.worker.reply(await world.request("always"), b"waited")
    assert (await calling).body == b"waited"


async def test_a_caller_that_leaves_does_not_end_its_job(world):
    async with await Caller.connect(world.bridge.port) as caller:
        await caller.send(encoded("/echo", b"x", headers=(("Prefer", "respond-async, wait=9"),)))
        request = await world.request()
        await caller.reset()
    await until(lambda: world.bridge.bridge.admission.held == 0, "the bridge has seen it leave")
    await world.worker.reply(request, b"kept", text=True)
    location = f"/jobs/{request.get('correlation-id')}"
    await world.is_over(location)
    assert (await world.get(location + "/result")).body == b"kept"


# -- looking at it


async def test_a_job_before_and_after_its_end(world):
    location = await world.accepted()
    first = await world.get(location)
    assert (first.status, first.get("job-state")) == (200, "queued")
    unfinished = await world.get(location + "/result")
    assert (unfinished.status, unfinished.get("job-state")) == (202, "queued")
    assert json.loads(unfinished.body) == json.loads(first.body)
    await world.worker.reply(await world.request(), b"done")
    job = await world.is_over(location)
    assert (job["state"], job["attempts"], job["progress"]) == ("done", 1, None)
    assert TIME.fullmatch(job["finished"])
    response = await world.get(location)
    assert response.get("correlation-id") == job["id"]
    assert response.get("cache-control") == "no-store"
    assert "server-timing" in dict(response.headers)


async def test_the_result_is_the_answer_that_a_held_call_would_have_had(world):
    location, _ = await world.finished(
        b"\0\xff", http_status="404", content_type="a/b", http_header_etag='"1"', http_header_cache_control="no-cache",
        http_header_x_secret="no", work_ms="2", queue_ms="1",
    )  # fmt: skip
    for _ in range(2):
        response = await world.get(location + "/result")
        assert (response.status, response.body) == (404, b"\0\xff")
        assert response.get("content-type") == "a/b"
        assert response.get("etag") == '"1"'
        assert response.get("cache-control") == "no-cache"
        assert response.get("job-state") == "done"
        assert response.get("x-secret") is None
        assert response.get("server-timing").endswith("queue;dur=1.00, work;dur=2.00")
        assert response.get("correlation-id") == location.rpartition("/")[2]


async def test_a_workers_own_202_is_told_from_not_finished_by_the_state(world):
    location, _ = await world.finished(b"taken", http_status="202")
    response = await world.get(location + "/result")
    assert (response.status, response.body, response.get("job-state")) == (202, b"taken", "done")


async def test_head_is_get_without_a_body(world):
    location, _ = await world.finished(b"body")
    for path in (location, location + "/result"):
        response = await world.bridge.call(path, None, method="HEAD")
        assert (response.status, response.body, response.get("job-state")) == (200, b"", "done")


@pytest.mark.parametrize(("suffix", "body"), [("", None), ("/result", b"now")])
async def test_wait_holds_until_the_end(world, suffix, body):
    location = await world.accepted()
    waiting = asyncio.create_task(world.get(location + suffix, wait=15))
    await until(lambda: world.bridge.bridge.admission.held == 1, "it is held")
    await world.worker.reply(await world.request(), b"now")
    response = await waiting
    assert (response.status, response.get("job-state"), response.get("preference-applied")) == (200, "done", "wait=15")
    assert body is None or response.body == body


async def test_wait_ends_with_its_time(world):
    location = await world.accepted()
    response = await world.get(location, wait=1)
    assert (response.status, response.get("job-state"), response.get("preference-applied")) == (200, "queued", "wait=1")
    assert (await world.get(location + "/result", wait=1)).status == 202


@pytest.mark.parametrize("prefer", ["wait=0", "wait=x", "respond-async", "wait=1;a=b,,,", ""])
async def test_a_malformed_prefer_does_no_harm(world, prefer):
    location, _ = await world.finished()
    assert (await world.bridge.call(location, None, method="GET", headers=(("Prefer", prefer),))).status == 200


async def test_a_caller_that_leaves_while_it_waits_is_forgotten(world):
    location = await world.accepted()
    async with await Caller.connect(world.bridge.port) as caller:
        await caller.send(encoded(location, None, method="GET", headers=(("Prefer", "wait=600"),)))
        await until(lambda: world.bridge.bridge.admission.held == 1, "it is held")
        await caller.reset()
    await until(lambda: world.bridge.bridge.admission.held == 0, "it is forgotten")


# -- outcomes


@pytest.mark.parametrize("name", ["worker-failed", "worker-lost", "poisoned", "bad-reply"])
async def test_a_workers_problem_makes_the_job_failed_and_its_result_the_502(world, name):
    location, _ = await world.finished(problem=name)
    job = await world.is_over(location)
    assert job["state"] == "failed"
    response = await world.get(location + "/result")
    assert (response.status, response.name, response.get("job-state")) == (502, name, "failed")
    assert response.problem["instance"] == "/echo"
    assert response.problem["correlation_id"] == job["id"]


@pytest.mark.parametrize(
    "properties",
    [{"http_status": "99"}, {"http_status": "abc"}, {"http_header_etag": "a\r\nb"}, {"http_status": "204"}],
)
async def test_a_reply_that_is_no_answer_makes_it_failed(world, properties):
    if "\r" in "".join(properties.values()) and "1.2" not in world.bridge.bridge.client.profile.versions:
        pytest.skip("STOMP 1.1 has no escape for CR")
    location, _ = await world.finished(b"body", **properties)
    response = await world.get(location + "/result")
    assert (response.status, response.name, response.problem["ran"]) == (502, "bad-reply", "yes")


@pytest.mark.parametrize(("size", "status"), [(9, 200), (10, 200), (11, 502)])
async def test_a_reply_up_to_the_routes_limit_is_kept(world, size, status):
    location = await world.accepted("/small")
    await world.worker.reply(await world.request("small"), b"x" * size)
    await world.is_over(location)
    response = await world.get(location + "/result")
    assert response.status == status
    assert response.name == "bad-reply" if status == 502 else response.body == b"x" * size


async def test_a_job_whose_time_is_over_is_expired_and_its_result_the_504(world):
    location = await world.accepted("/quick")
    request = await world.request("quick")
    world.set_clock(601_000)
    try:
        job = await world.is_over(location)
        assert job["state"] == "expired"
        response = await world.get(location + "/result")
        assert (response.status, response.name, response.get("job-state")) == (504, "deadline", "expired")
        assert (response.problem["ran"], response.problem["phase"]) == ("maybe", "unknown")
        await world.worker.reply(request, b"too late")
        response = await world.delete(location)
        assert (response.status, response.name) == (409, "job-final")
        assert (await world.get(location)).get("job-state") == "expired"
    finally:
        world.set_clock(-601_000)


async def test_of_two_finals_the_first_one_counts(world):
    location, request = await world.finished(b"first")
    strays = world.bridge.bridge.jobs._running.replies.counts
    before = strays.stray
    await world.worker.reply(request, b"second")
    await until(lambda: strays.stray == before + 1, "the second is dropped")
    assert (await world.get(location + "/result")).body == b"first"


@pytest.mark.parametrize("correlation_id", ["0" * 32, "", "x", "A" * 32, "0" * 31, "0" * 33, "ü", "a\\:b", None])
async def test_a_reply_to_nobody_is_dropped_and_harms_no_job(world, correlation_id):
    location = await world.accepted()
    request = await world.request()
    strays = world.bridge.bridge.jobs._running.replies.counts
    before = strays.stray
    headers = {"correlation-id": correlation_id}
    await world.worker.send(request.get("reply-to"), headers, b"stray", text=True)
    await until(lambda: strays.stray == before + 1, "it is dropped")
    await world.worker.reply(request, b"mine")
    assert (await world.is_over(location))["state"] == "done"


async def test_a_kind_of_reply_that_was_not_asked_for_does_not_end_the_job(world):
    location = await world.accepted()
    request = await world.request()
    for kind in ("started", "progress", "chunk", "unheard-of"):
        await world.worker.reply(request, b"", reply_kind=kind)
    await world.worker.reply(request, b"end", reply_kind="final")
    await world.is_over(location)
    assert (await world.get(location + "/result")).body == b"end"


# -- the bridge


async def test_public_url_stands_before_what_is_given_out(broker, implementation, queue):
    prefix = "https://api.example.com/work"
    async with a_world(broker, queue, implementation, public_url=prefix) as world:
        response = await world.post("/echo", b"x", ASYNC)
        job = json.loads(response.body)
        assert response.get("location") == f"{prefix}/jobs/{job['id']}" == job["links"]["self"]
        world.worker.forget()


async def test_long_polls_end_when_the_bridge_drains_and_count_as_held(broker, implementation, queue):
    async with a_world(broker, queue, implementation, max_held=1) as world:
        location = await world.accepted()
        waiting = asyncio.create_task(world.get(location, wait=600))
        await until(lambda: world.bridge.bridge.admission.held == 1, "it is held")
        assert (await world.get(location, wait=600)).name == "bridge-full"
        assert (await world.get(location)).status == 200
        world.bridge.stopping.set()
        response = await waiting
        assert (response.status, response.get("job-state")) == (200, "queued")
        world.worker.forget()


async def test_a_keyed_request_that_waits_is_a_job_like_any(world):
    calling = world.begin("/echo", b"x", key("as-a-job"))
    request = await world.request()
    location = f"/jobs/{request.get('correlation-id')}"
    assert json.loads((await world.get(location)).body)["state"] == "queued"
    await world.worker.reply(request, b"both", text=True)
    assert (await calling).body == (await world.get(location + "/result")).body == b"both"
