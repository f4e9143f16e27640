"""JMS workers that throw, die or come to nothing in mid-job: the message goes to another, within the same call."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from bridge.settings import Route
from consumers import Request
from tests.bridge.harness import running, settings_for
from tests.consumers.harness import running as working
from tests.consumers.harness import worker_of
from tests.java.programs import on_both

pytestmark = [pytest.mark.asyncio(loop_scope="module"), on_both]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bridge(broker, queue):
    names = ["throws", "transacted", "client", "mixed"]
    routes = [Route(name=name, path=f"/{name}", queue=queue(name), timeout=30.0) for name in names]
    async with running(settings_for(broker, routes), "hypercorn") as bridge:
        yield bridge


async def test_a_worker_that_rolls_back_gets_it_again(bridge, broker, start, queue):
    """Classic's client keeps a message that was rolled back, and gives it to the same consumer a second later."""
    worker = await start(broker, "probe", "work", queue("throws"), "transacted")
    response = await bridge.call("/throws", b"once")
    assert (response.status, response.body) == (200, b"the second time")
    assert [line for line in worker.lines if line.startswith("took")] == [
        "took once redelivered=false",
        "took once redelivered=true",
    ]


@pytest.mark.parametrize("acknowledgement", ["transacted", "client"])
async def test_what_a_killed_worker_had_goes_to_another(bridge, broker, start, queue, acknowledgement):
    doomed = await start(broker, "probe", "work", queue(acknowledgement), acknowledgement)
    call = asyncio.create_task(bridge.call(f"/{acknowledgement}", b"hang-once"))
    await doomed.wait_for("took hang-once redelivered=false")
    heir = await start(broker, "probe", "work", queue(acknowledgement), acknowledgement)
    await doomed.kill()
    response = await call
    assert (response.status, response.body) == (200, b"the second time")
    assert heir.lines == ["ready", "took hang-once redelivered=true"]


async def test_a_worker_of_ours_counts_what_a_jms_worker_lost(bridge, broker, start, queue):
    doomed = await start(broker, "probe", "work", queue("mixed"), "transacted")
    attempts = []

    async def handler(request: Request) -> str:
        attempts.append(request.attempt)
        return "mine"

    call = asyncio.create_task(bridge.call("/mixed", b"hang-once"))
    await doomed.wait_for("took hang-once")
    async with working(worker_of(queue("mixed"), handler), broker):
        await doomed.kill()
        response = await call
    assert (response.status, response.body, attempts) == (200, b"mine", [2])


async def test_a_worker_outlives_the_bridge_that_asked(broker, start, queue):
    """Its reply has nowhere to go: the temporary queue died with the bridge's connection."""
    worker = await start(broker, "probe", "work", queue("outlives"), "transacted")
    routes = [Route(name="outlives", path="/outlives", queue=queue("outlives"), timeout=30.0)]
    settings = settings_for(broker, routes, drain=30.0)
    async with running(settings, "hypercorn") as bridge:
        call = asyncio.create_task(bridge.call("/outlives", b"wait 1500 text"))
        await worker.wait_for("took wait")
        await bridge.bridge.client.stop()  # as if it had been killed: the broker sees its connection end
        response = await call
        assert (response.status, response.name) == (502, "broker-lost")
    async with running(settings, "hypercorn") as bridge:
        response = await bridge.call("/outlives", b"reply text")
    assert response.status == 200
