"""`DELETE /jobs/{id}`; whose a job is, and for how long; over HTTP and a real ActiveMQ."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.bridge.callers import until
from tests.bridge.jobs.world import DAY_MS, a_world

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


# -- cancelling


async def test_delete_cancels_and_again_does_nothing(world):
    location = await world.accepted()
    for _ in range(2):
        response = await world.delete(location)
        assert (response.status, response.body, response.get("job-state")) == (204, b"", "cancelled")
        assert response.get("cache-control") == "no-store"
    assert (await world.get(location)).get("job-state") == "cancelled"
    response = await world.get(location + "/result")
    assert (response.status, response.name, response.problem["ran"]) == (410, "job-cancelled", "maybe")
    assert response.get("job-state") == "cancelled"


async def test_a_reply_for_a_cancelled_job_is_dropped(world):
    location = await world.accepted()
    request = await world.request()
    await world.delete(location)
    strays = world.bridge.bridge.jobs._running.replies.counts
    before = strays.stray
    await world.worker.reply(request, b"too late")
    await until(lambda: strays.stray == before + 1, "it is dropped")
    assert (await world.get(location + "/result")).status == 410


async def test_who_waits_for_a_job_hears_of_its_cancellation(world):
    calling = world.begin("/echo", b"x", ("Prefer", "respond-async, wait=9"))
    request = await world.request()
    location = f"/jobs/{request.get('correlation-id')}"
    assert (await world.delete(location)).status == 204
    response = await calling
    assert (response.status, response.name, response.get("job-state")) == (410, "job-cancelled", "cancelled")


@pytest.mark.parametrize("properties", [{}, {"problem": "worker-failed"}])
async def test_what_is_over_cannot_be_cancelled(world, properties):
    location, _ = await world.finished(**properties)
    response = await world.delete(location)
    assert (response.status, response.name) == (409, "job-final")
    assert response.get("job-state") in ("done", "failed")
    assert "ran" not in response.problem


# -- whose, and how long


@pytest.mark.parametrize("job_id", ["0" * 32, "x", "", "0" * 31, "0" * 33, "A" * 32, "%00", "..", "%30" * 32])
@pytest.mark.parametrize("suffix", ["", "/result"])
async def test_the_id_of_no_job(world, job_id, suffix):
    for method in ("GET", "DELETE") if not suffix else ("GET",):
        response = await world.bridge.call(f"/jobs/{job_id}{suffix}", None, method=method)
        assert (response.status, response.name) == (404, "no-job")
        assert response.get("job-state") is None
        assert len(response.get("correlation-id")) == 32


@pytest.mark.parametrize("path", ["/x", "/result/", "/result/x", "/"])
async def test_there_is_nothing_else_below_a_job(world, path):
    location = await world.accepted()
    response = await world.get(location + path)
    assert (response.status, response.name) == (404, "no-route")


@pytest.mark.parametrize(("suffix", "allow"), [("", "DELETE, GET, HEAD"), ("/result", "GET, HEAD")])
async def test_other_methods_are_not_allowed(world, suffix, allow):
    location = await world.accepted()
    for method in ("POST", "PUT", "PATCH") + (("DELETE",) if suffix else ()):
        response = await world.bridge.call(location + suffix, b"x", method=method)
        assert (response.status, response.name, response.get("allow")) == (405, "method-not-allowed", allow)


async def test_an_open_bridge_shows_jobs_to_its_own_machine_only(world):
    location = await world.accepted()
    for options in ({"host": "example.com"}, {"headers": (("Via", "1.1 x"),)}):
        response = await world.bridge.call(location, None, method="GET", **options)
        assert (response.status, response.name) == (403, "forbidden")


async def test_after_its_retention_a_job_is_gone_for_seven_days_and_then_not_known(world):
    location, _ = await world.finished()
    moved = 0
    try:
        for ahead, status, name in (
            (DAY_MS - 60_000, 200, None),
            (120_000, 410, "job-gone"),
            (7 * DAY_MS - 120_000, 410, "job-gone"),
            (120_000, 404, "no-job"),
        ):
            world.set_clock(ahead)
            moved += ahead
            for path in (location, location + "/result"):
                response = await world.get(path)
                assert response.status == status
                assert name is None or response.name == name
                assert response.get("job-state") == (None if status == 404 else "done")
            if status == 410:
                assert (await world.delete(location)).name == "job-gone"
    finally:
        world.set_clock(-moved)


async def test_a_result_counts_towards_the_memory_of_bodies_and_is_refused_where_there_is_none(world):
    location, _ = await world.finished(b"x" * 1_000)
    admission = world.bridge.bridge.admission
    room = admission._max_memory - admission.memory
    admission.memory += room - 999
    try:
        refused = await world.get(location + "/result")
        assert (refused.status, refused.name) == (503, "bridge-full")
        admission.memory -= 1
        assert (await world.get(location + "/result")).body == b"x" * 1_000
        assert admission._max_memory - admission.memory == 1_000
    finally:
        admission.memory -= room - 1_000
