"""`Idempotency-Key`, sentence by sentence, over HTTP and a real ActiveMQ."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from tests.bridge.callers import Caller, until
from tests.bridge.callers import request as encoded
from tests.bridge.jobs.world import ASYNC, DAY_MS, a_world, key

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.every_broker]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(broker, implementation, queue):
    """Two bridges of one store."""
    async with a_world(broker, queue, implementation, bridges=2) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    await world.forget()
    yield
    for bridge in world.bridges:
        await bridge.at_rest()


@pytest.fixture
def a_key(request):
    return key(request.node.name.replace('"', "")[:255].replace("\\", "").replace(" ", "-"))


async def answered(world, a_key, body=b"answer", **properties):
    """Make a keyed call and have it answered."""
    calling = world.begin("/echo", b"x", a_key)
    request = await world.request()
    await world.worker.reply(request, body, **properties)
    return request, await calling


async def test_a_keyed_call_is_answered_as_a_held_call(world, a_key):
    request, response = await answered(world, a_key, b"hello", http_status="201", content_type="a/b")
    assert (response.status, response.body, response.get("content-type")) == (201, b"hello", "a/b")
    assert response.get("correlation-id") == request.get("correlation-id")
    assert response.get("idempotency-replayed") is None
    assert response.get("location") is None
    assert request.get("idempotency_key") == a_key[1]
    assert request.get("persistent") == "true"


async def test_the_same_key_again_is_the_recorded_answer_at_either_bridge(world, a_key):
    request, first = await answered(world, a_key, b"once", http_status="404", http_header_etag='"e"')
    for at in (0, 1):
        again = await world.post("/echo", b"x", a_key, at=at)
        assert (again.status, again.body, again.get("etag")) == (404, b"once", '"e"')
        assert again.get("idempotency-replayed") == "true"
        assert again.get("correlation-id") == first.get("correlation-id") == request.get("correlation-id")
    await world.nothing_was_sent()


def times_counted(world):
    routes = [
        route for bridge in world.bridges for route in bridge.bridge.router.routes if route.settings.path == "/echo"
    ]
    figures = [route.counts.figures for route in routes]
    return [sum(kind.counts) for one in figures for kind in (one.queued, one.worked)]


async def test_a_workers_time_is_counted_once_however_many_get_its_answer(world, a_key):
    before = sum(times_counted(world))
    calling = [world.begin("/echo", b"x", a_key, at=at) for at in (0, 0, 1)]
    request = await world.request()
    await world.worker.reply(request, b"once", queue_ms="5", work_ms="7")
    assert [(await one).body for one in calling] == [b"once"] * 3
    assert (await world.post("/echo", b"x", a_key)).get("idempotency-replayed") == "true"
    assert sum(times_counted(world)) == before + 2  # one wait and one work


async def test_quoted_or_bare_is_the_same_key(world, a_key):
    request, _ = await answered(world, ("Idempotency-Key", f'"{a_key[1]}"'))
    assert request.get("idempotency_key") == a_key[1]
    assert (await world.post("/echo", b"x", a_key)).get("idempotency-replayed") == "true"


@pytest.mark.parametrize("value", ["!", "~", "a" * 255, '"' + "b" * 255 + '"', "a,b;c='d'", "#%&/()=?"])
async def test_what_a_key_may_be(world, value):
    request, response = await answered(world, key(value))
    assert response.status == 200
    assert request.get("idempotency_key") == value.strip('"')


@pytest.mark.parametrize(
    "value",
    ["", '""', "a b", "a" * 256, '"' + "a" * 256 + '"', '"a', 'a"', 'a"b', "a\\b", '"a\\b"', "ü", "\t", '"a" "b"'],
)
async def test_what_a_key_may_not_be(world, value):
    response = await world.post("/echo", b"x", key(value))
    assert (response.status, response.name, response.problem["field"]) == (400, "invalid-request", "idempotency-key")
    assert response.problem["ran"] == "no"
    await world.nothing_was_sent()


async def test_two_keys_are_refused(world):
    response = await world.post("/echo", b"x", key("a"), key("a"))
    assert (response.status, response.problem["field"]) == (400, "idempotency-key")


async def test_a_route_may_require_a_key(world, a_key):
    response = await world.post("/required", b"x")
    assert (response.status, response.problem["field"]) == (400, "idempotency-key")
    calling = world.begin("/required", b"x", a_key)
    await world.worker.reply(await world.request("required"), b"ok")
    assert (await calling).body == b"ok"


async def test_a_route_may_not_look_at_keys(world, a_key):
    for _ in range(2):
        calling = world.begin("/off", b"x", a_key)
        request = await world.request("off")
        assert "bridge.replies." not in request.get("reply-to")
        assert request.get("idempotency_key") is None
        await world.worker.reply(request, b"ok")
        assert (await calling).get("job-state") is None


async def test_in_flight_it_is_joined_at_either_bridge(world, a_key):
    first = world.begin("/echo", b"x", a_key)
    request = await world.request()
    others = [world.begin("/echo", b"x", a_key, at=at) for at in (0, 1, 0, 1)]
    await until(lambda: sum(len(bridge.bridge.jobs.holders) for bridge in world.bridges) == 5, "all are held")
    await world.worker.reply(request, b"for all")
    for response in [await first, *[await other for other in others]]:
        assert (response.status, response.body) == (200, b"for all")
        assert response.get("correlation-id") == request.get("correlation-id")
        assert response.get("idempotency-replayed") is None
    await world.nothing_was_sent()


async def test_two_hundred_at_once_on_two_bridges_are_one_execution_and_equal_answers(world, a_key):
    calls = [world.begin("/echo", b"x", a_key, at=number % 2) for number in range(200)]
    await world.worker.reply(await world.request(), b"the only one")
    answers = [await call for call in calls]
    assert {(one.status, one.body, one.get("correlation-id")) for one in answers} == {
        (200, b"the only one", answers[0].get("correlation-id"))
    }
    await world.nothing_was_sent()


@pytest.mark.parametrize(
    ("target", "body", "method"),
    [("/echo", b"y", "POST"), ("/echo", b"", "POST"), ("/echo?a=1", b"x", "POST"), ("/echo", b"x", "PUT")],
)
async def test_with_another_request_it_is_a_mismatch(world, a_key, target, body, method):
    calling = world.begin("/echo", b"x", a_key)
    request = await world.request()
    for _ in range(2):  # in flight, and after it
        for bridge in world.bridges:
            response = await bridge.call(target, body, method=method, headers=(a_key,))
            assert (response.status, response.name) == (422, "idempotency-mismatch")
            assert response.problem["ran"] == "no"
            assert response.get("correlation-id") != request.get("correlation-id")
        await world.worker.reply(request, b"ok")
        assert (await calling).status == 200
    await world.nothing_was_sent()


async def test_the_same_key_on_another_route_is_another_key(world, a_key):
    await answered(world, a_key, b"echo")
    calling = world.begin("/other", b"x", a_key)
    await world.worker.reply(await world.request(), b"other")
    assert (await calling).body == b"other"


async def test_a_key_lasts_as_long_as_its_record(world, a_key):
    _, first = await answered(world, a_key, b"one")
    world.set_clock(DAY_MS - 60_000)
    try:
        assert (await world.post("/echo", b"x", a_key)).get("idempotency-replayed") == "true"
        world.set_clock(120_000)
        try:
            _, second = await answered(world, a_key, b"two")
            assert second.body == b"two"
            assert second.get("correlation-id") != first.get("correlation-id")
        finally:
            world.set_clock(-120_000)
    finally:
        world.set_clock(-DAY_MS + 60_000)


async def test_a_problem_of_the_worker_is_recorded_too(world, a_key):
    _, first = await answered(world, a_key, problem="worker-failed")
    again = await world.post("/echo", b"x", a_key, at=1)
    assert (first.status, first.name) == (again.status, again.name) == (502, "worker-failed")
    assert again.get("idempotency-replayed") == "true"
    assert again.problem == first.problem


async def test_a_caller_that_leaves_does_not_end_it_and_may_come_back(world, a_key):
    async with await Caller.connect(world.bridge.port) as caller:
        await caller.send(encoded("/echo", b"x", headers=(a_key,)))
        request = await world.request()
        await caller.reset()
    await until(lambda: world.bridge.bridge.admission.held == 0, "the bridge has seen it leave")
    again = world.begin("/echo", b"x", a_key, at=1)
    await world.worker.reply(request, b"kept")
    assert (await again).body == b"kept"
    await world.nothing_was_sent()


async def test_when_the_held_time_is_over_the_job_goes_on_and_the_key_leads_to_it(world, a_key):
    response = await world.post("/quick", b"x", a_key)
    assert (response.status, response.name) == (504, "deadline")
    assert (response.problem["ran"], response.problem["phase"]) == ("maybe", "unknown")
    assert response.get("job-state") == "queued"
    request = await world.request("quick")
    assert response.get("location") == f"/jobs/{request.get('correlation-id')}"
    await world.worker.reply(request, b"late")
    await world.is_over(response.get("location"))
    again = await world.post("/quick", b"x", a_key)
    assert (again.body, again.get("idempotency-replayed")) == (b"late", "true")


async def test_wait_shortens_the_holding_of_a_keyed_call(world, a_key):
    response = await world.post("/echo", b"x", a_key, ("Prefer", "wait=1"))
    assert (response.status, response.name, response.get("preference-applied")) == (504, "deadline", "wait=1")


async def test_delete_cancels_a_keyed_call_and_the_record_says_so(world, a_key):
    calling = world.begin("/echo", b"x", a_key)
    request = await world.request()
    assert (await world.delete(f"/jobs/{request.get('correlation-id')}", at=1)).status == 204
    assert (await calling).name == "job-cancelled"
    again = await world.post("/echo", b"x", a_key)
    assert (again.status, again.name, again.get("idempotency-replayed")) == (410, "job-cancelled", "true")
    await world.nothing_was_sent()


async def test_a_keyed_job_is_joined_by_respond_async_and_then_replayed(world, a_key):
    first = await world.post("/echo", b"x", a_key, ASYNC)
    again = await world.post("/echo", b"x", a_key, ASYNC, at=1)
    assert (first.status, again.status) == (202, 202)
    assert again.get("location") == first.get("location")
    assert again.get("correlation-id") == first.get("correlation-id")
    await world.worker.reply(await world.request(), b"done")
    await world.is_over(first.get("location"))
    recorded = await world.post("/echo", b"x", a_key, ASYNC)
    assert (recorded.status, recorded.body, recorded.get("idempotency-replayed")) == (200, b"done", "true")
    await world.nothing_was_sent()


async def test_a_result_can_be_fetched_from_the_other_bridge(world):
    location = await world.accepted()
    waiting = asyncio.create_task(world.get(location, wait=15, at=1))
    await until(lambda: world.bridges[1].bridge.admission.held == 1, "it is held")
    await world.worker.reply(await world.request(), b"over there", text=True)
    assert (await waiting).get("job-state") == "done"
    assert (await world.get(location + "/result", at=1)).body == b"over there"


async def test_a_caller_is_answered_at_whichever_bridge_although_only_one_takes_the_reply(world):
    calls = [world.begin("/echo", b"%d" % number, key(f"many-{number}"), at=number % 2) for number in range(20)]
    for _ in calls:
        request = await world.request()
        await world.worker.reply(request, request.body)
    for number, calling in enumerate(calls):
        assert (await calling).body == b"%d" % number
