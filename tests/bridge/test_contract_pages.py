"""The bridge's own pages, on both HTTP servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.problems import TABLE
from bridge.settings import Route
from tests.bridge.callers import until
from tests.bridge.harness import Running, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = [Route(name="echo", path="/echo", queue="echo")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bridge(implementation) -> AsyncIterator[Running]:
    async with (
        FakeBroker() as broker,
        running(settings_for(broker, ROUTES, public_url="https://example.com/mq"), implementation) as bridge,
    ):
        yield bridge


async def get(bridge, target, **options):
    return await bridge.call(target, None, **{"method": "GET", **options})


async def test_live(bridge):
    response = await get(bridge, "/-/live")
    assert (response.status, json.loads(response.body)) == (200, {"live": True})
    assert response.get("cache-control") == "no-store"


async def test_ready_says_whether_a_call_could_be_served(implementation):
    async with FakeBroker() as broker, running(settings_for(broker, ROUTES), implementation) as bridge:
        response = await get(bridge, "/-/ready")
        assert (response.status, json.loads(response.body)) == (200, {"ready": True})
        await broker.stop()
        await until(lambda: not bridge.bridge.client.connected)
        response = await get(bridge, "/-/ready")
        assert (response.status, json.loads(response.body)) == (503, {"ready": False})
        assert (await get(bridge, "/-/live")).status == 200
        await broker.start()
        await until(lambda: bridge.bridge.ready)
        assert (await get(bridge, "/-/ready")).status == 200
        bridge.bridge.admission.draining = True
        assert (await get(bridge, "/-/ready")).status == 503


@pytest.mark.parametrize("name", TABLE)
async def test_every_problem_has_a_page(bridge, name):
    response = await get(bridge, f"/problems/{name}")
    page = response.body.decode()
    assert (response.status, response.get("content-type")) == (200, "text/html; charset=utf-8")
    assert f"<h1>{TABLE[name].status} {TABLE[name].title}</h1>" in page
    assert f"<code>{name}</code>" in page


@pytest.mark.parametrize("target", ["/-/nothing", "/-/", "/problems/", "/problems/nothing", "/problems/no-route/more"])
async def test_other_pages_are_a_404_like_any_other(bridge, target):
    response = await get(bridge, target)
    assert (response.status, response.name, response.problem["ran"]) == (404, "no-route", "no")
    assert response.problem["instance"] == target
    assert response.problem["type"] == "https://example.com/mq/problems/no-route"
    assert response.problem["correlation_id"] == response.get("correlation-id")
    assert response.get("cache-control") == "no-store"


@pytest.mark.parametrize("target", ["/-/live", "/-/ready", "/problems/no-route"])
async def test_pages_are_only_read(bridge, target):
    response = await bridge.call(target, b"x")
    assert (response.status, response.name) == (405, "method-not-allowed")
    assert set(response.get("allow").split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("target", ["/-/live", "/-/ready", "/problems/no-route"])
async def test_an_open_bridge_shows_its_pages_to_its_own_machine_only(bridge, target):
    for options in ({"host": "rebound.example.com"}, {"headers": (("X-Forwarded-For", "10.0.0.1"),)}):
        response = await get(bridge, target, **options)
        assert (response.status, response.name) == (403, "forbidden")


@pytest.mark.parametrize("target", ["/", "/jobs", "/-", "/problems"])
async def test_what_is_not_built_yet_is_no_route(bridge, target):
    assert (await get(bridge, target)).name == "no-route"


async def test_where_anonymous_callers_are_allowed_any_host_is_served(implementation):
    async with (
        FakeBroker() as broker,
        running(settings_for(broker, ROUTES, allow_anonymous=True), implementation) as bridge,
    ):
        response = await get(bridge, "/-/live", host="bridge.example.com", headers=(("Via", "1.1 proxy"),))
        assert response.status == 200
        response = await bridge.call("/nothing", b"", host="bridge.example.com")
        assert response.name == "no-route"
