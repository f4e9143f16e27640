"""A held call that is a job and whose caller takes events: the job, answered as events."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from tests.bridge.callers import until
from tests.bridge.jobs.world import ASYNC, Reader, a_world, key

pytestmark = pytest.mark.asyncio(loop_scope="module")
EVENTS = ("Accept", "text/event-stream")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker, implementation, queue):
    async with a_world(broker, queue, implementation) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    await world.forget()
    yield
    await world.bridge.at_rest()
    assert not len(world.bridge.bridge.jobs.followers)


def call(world, name, *headers, after=None, path="/parts"):
    return Reader(world.bridge.port, path, after, (EVENTS, key(name), *headers), "POST")


async def test_a_keyed_call_that_takes_events_is_a_job_answered_as_events(world):
    async with call(world, "events") as reader:
        request = await world.request("parts")
        location = f"/jobs/{request.get('correlation-id')}"
        assert reader.head.startswith(b"http/1.1 200")
        for header in ("content-type: text/event-stream", f"location: {location}", "job-state: queued"):
            assert header.encode() in reader.head
        assert b"idempotency-replayed" not in reader.head
        assert (request.get("persistent"), request.get("reply_kinds")) == ("true", "started progress chunk")
        await world.tell(request, "progress", b"50", attempt="1", sequence="1")
        assert [await reader.next(), await reader.next()] == [("started", 1, {"attempt": 1}), ("progress", 2, 50)]
        await world.worker.reply(request, b"all", content_type="text/plain")
        done = {"status": 200, "content_type": "text/plain", "headers": {}, "body": "all"}
        assert await reader.rest() == [("done", 3, done)]
    assert (await world.get(location + "/result")).body == b"all"


async def test_its_caller_may_leave_and_the_same_key_resumes_behind_the_last_event(world):
    async with call(world, "leaves") as reader:
        request = await world.request("parts")
        for at in (1, 2, 3):
            await world.tell(request, "chunk", b"%d" % at, attempt="1", sequence=str(at))
        seen = [await reader.next() for _ in range(3)]
    assert seen[-1] == ("chunk", 3, 2)
    async with call(world, "leaves", after=3) as reader:
        assert await reader.next() == ("chunk", 4, 3)
        await world.worker.reply(request, b"all")
        assert [(kind, number) for kind, number, _ in await reader.rest()] == [("done", 5)]
    assert world.worker.waiting(world.queue("parts")) == 0


async def test_a_recorded_answer_comes_as_its_events(world):
    async with call(world, "again") as reader:
        request = await world.request("parts")
        await world.tell(request, "chunk", b"1")
        await world.worker.reply(request, b"all")
        first = await reader.rest()
    async with call(world, "again") as reader:
        assert b"idempotency-replayed: true" in reader.head
        assert f"correlation-id: {request.get('correlation-id')}".encode() in reader.head
        assert await reader.rest() == first
    plain = await world.post("/parts", b"x", key("again"))
    assert (plain.body, plain.get("idempotency-replayed")) == (b"all", "true")
    headers = (EVENTS, key("again"), ("Last-Event-ID", "3"))
    assert (await world.post("/parts", b"x", *headers)).status == 204


async def test_its_time_is_over_and_the_job_goes_on(world):
    async with Reader(world.bridge.port, "/silent", None, (EVENTS, key("late")), "POST") as reader:
        request = await world.request("silent")
        ((kind, number, problem),) = await reader.rest()
    assert (kind, number, problem["type"], problem["phase"]) == ("failed", None, "/problems/deadline", "unknown")
    assert "goes on" in problem["detail"]
    await world.worker.reply(request, b"later")
    assert (await world.is_over(f"/jobs/{request.get('correlation-id')}"))["state"] == "done"


async def test_a_refusal_before_the_message_is_a_plain_problem(world):
    async with call(world, "plain"):
        await world.request("parts")
    mismatch = await world.post("/parts", b"y", EVENTS, key("plain"))
    assert (mismatch.status, mismatch.name) == (422, "idempotency-mismatch")
    malformed = await world.post("/parts", b"x", EVENTS, key("other"), ("Last-Event-ID", "x"))
    assert (malformed.status, malformed.name) == (400, "invalid-request")
    assert world.worker.waiting(world.queue("parts")) == 0


async def test_another_key_begins_anew_whatever_was_read_before(world):
    async with call(world, "new", after=77) as reader:
        request = await world.request("parts")
        await world.tell(request, "chunk", b"1")
        assert (await reader.next())[:2] == ("started", 1)


@pytest.mark.parametrize("path", ["/echo", "/required"])
async def test_a_route_without_a_stream_answers_as_usual(world, path):
    calling = world.begin(path, b"x", EVENTS, key(f"usual-{path}"))
    await world.worker.reply(await world.request(path[1:]), b"all")
    assert (await calling).body == b"all"


async def test_respond_async_gets_its_202_also_from_who_takes_events_and_with_wait_it_follows(world):
    response = await world.post("/parts", b"x", EVENTS, ASYNC)
    assert (response.status, json.loads(response.body)["links"]["events"]) == (
        202,
        response.get("location") + "/events",
    )
    await world.request("parts")
    headers = (EVENTS, ("Prefer", "respond-async, wait=9"))
    async with Reader(world.bridge.port, "/parts", None, headers, "POST") as reader:
        await world.worker.reply(await world.request("parts"), b"all")
        assert [kind for kind, _, _ in await reader.rest()] == ["done"]
        assert b"preference-applied: wait=9" in reader.head


async def test_a_call_without_a_key_is_no_job(world):
    async with Reader(world.bridge.port, "/parts", None, (EVENTS,), "POST") as reader:
        request = await world.request("parts")
        assert "temp-queue" in request.get("reply-to")
        await world.worker.reply(request, b"all")
        await reader.rest()
        assert b"location" not in reader.head
    await until(lambda: world.bridge.bridge.admission.held == 0)


async def test_a_stream_of_a_job_is_counted_as_what_it_ended_with(world):
    figures = next(
        route for route in world.bridge.bridge.router.routes if route.settings.name == "parts"
    ).counts.figures
    before = dict(figures.outcomes)
    async with call(world, "counted") as reader:
        await world.worker.reply(await world.request("parts"), b"all", http_status="404")
        await reader.rest()
    async with call(world, "counted-too") as reader:
        await world.worker.reply(await world.request("parts"), problem="worker-failed")
        await reader.rest()
    await until(lambda: sum(figures.outcomes.values()) == sum(before.values()) + 2, "both are counted")
    assert {
        name: number - before.get(name, 0)
        for name, number in figures.outcomes.items()
        if name in ("4xx", "worker-failed")
    } == {
        "4xx": 1,
        "worker-failed": 1,
    }
