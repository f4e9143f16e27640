"""What an operator can look up: the last quarter of an hour, the last problems, one call by its id."""

from __future__ import annotations

import asyncio
import json
import re
from hashlib import sha256

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.settings import Admin, Route
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "key of the operator"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class World:
    def __init__(self, bridge, worker):
        self.bridge, self.worker = bridge, worker

    async def look(self, page, key=KEY):
        headers = (("Authorization", f"Bearer {key}"),)
        return await self.bridge.call(f"/-/api/{page}", None, method="GET", headers=headers)

    async def see(self, page):
        response = await self.look(page)
        assert response.status == 200
        assert response.get("cache-control") == "no-store"
        return json.loads(response.body)

    async def answered(self, **properties):
        calling = asyncio.create_task(self.bridge.call("/words"))
        await self.worker.reply(await self.worker.request("words"), **properties)
        return await calling


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(implementation):
    routes = [
        Route(name="words", path="/words", queue="words", async_="never", idempotency="off"),
        Route(name="lonely", path="/lonely", queue="lonely", async_="never", idempotency="off"),
    ]
    async with FakeBroker() as broker, ToldWorker(broker, "words") as worker:
        settings = settings_for(broker, routes, store=NO_STORE)
        settings = settings.model_copy(update={"admin": Admin(key_sha256=sha256(KEY.encode()).hexdigest())})
        async with running(settings, implementation) as bridge:
            yield World(bridge, worker)


@pytest.mark.parametrize("page", ["history", "problems", "calls/" + "0" * 32])
async def test_the_key_is_needed(world, page):
    response = await world.look(page, "another")
    assert (response.status, response.name) == (401, "unauthenticated")


async def test_an_answered_call_is_found_with_its_times(world):
    response = await world.answered(queue_ms="2", work_ms="7", attempt="1")
    call = await world.see(f"calls/{response.get('correlation-id')}")
    assert (call["route"], call["caller"], call["outcome"], call["detail"]) == ("words", None, "2xx", None)
    assert (call["queue_ms"], call["work_ms"]) == (2.0, 7.0)
    assert 0 <= call["sent_after_ms"] <= call["answered_after_ms"]
    assert TIME.fullmatch(call["received"])


async def test_a_problem_is_listed_with_its_id_and_what_was_wrong(world):
    response = await world.bridge.call("/lonely")
    assert (response.status, response.name) == (503, "no-worker")
    newest = (await world.see("problems"))["problems"][0]
    assert newest["correlation_id"] == response.get("correlation-id")
    assert (newest["route"], newest["outcome"], newest["sent_after_ms"]) == ("lonely", "no-worker", None)
    assert newest["detail"] == response.problem["detail"]


async def test_a_call_for_no_route_has_none(world):
    response = await world.bridge.call("/made-up")
    assert (await world.see(f"calls/{response.get('correlation-id')}"))["route"] is None


async def test_an_id_that_is_not_kept_is_a_404(world):
    assert (await world.look("calls/" + "0" * 32)).status == 404


async def test_the_last_step_has_what_has_just_happened(world):
    await world.answered()
    await world.bridge.call("/lonely")
    past = await world.see("history")
    assert past["step_seconds"] == 10
    total = {}
    for step in past["steps"]:
        assert TIME.fullmatch(step["at"])
        for name, route in step["routes"].items():
            for outcome, number in route["outcomes"].items():
                total[name, outcome] = total.get((name, outcome), 0) + number
    assert total["words", "2xx"] >= 1
    assert total["lonely", "no-worker"] >= 1
    words, lonely = (past["steps"][-1]["routes"][name] for name in ("words", "lonely"))
    assert (words["listeners"], words["held"], words["backlog"], lonely["listeners"]) == (1, 0, 0, 0)
    assert lonely["p50"] is not None
