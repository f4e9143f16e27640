"""Bodies against a route's JSON Schema, on the wire of both HTTP servers."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.schema import BodySchema
from bridge.settings import Route
from tests.bridge.callers import PATIENCE, Caller, request
from tests.bridge.harness import ToldWorker, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER = BodySchema({"type": "object", "required": ["sku"], "properties": {"count": {"type": "integer"}}})
ROUTES = (
    Route(name="orders", path="/orders", queue="orders", schema_=ORDER, methods={"POST", "GET"}, worker_wait=PATIENCE),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setting(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "orders") as worker,
        running(settings_for(broker, ROUTES), implementation) as bridge,
    ):
        yield bridge, worker


async def answered(bridge, worker, body, method="POST"):
    """Make a call that has to reach the worker; return what the worker saw."""
    async with await Caller.connect(bridge.port) as caller:
        await caller.send(request("/orders", body, method=method))
        message = await worker.request("orders")
        await worker.reply(message, b"done")
        response = await caller.response(method)
        assert (response.status, response.body) == (200, b"done")
        return message


async def test_a_body_that_fits_goes_to_the_worker_byte_for_byte(setting):
    body = b'{ "count":1.0,\n"sku" : "\\u0041" }'
    assert (await answered(*setting, body)).body == body


async def test_a_large_body_that_fits_goes_there_too(setting):
    body = json.dumps({"sku": "x" * 20_000, "count": 1}).encode()
    assert (await answered(*setting, body)).body == body


async def test_a_get_without_a_body_is_not_checked(setting):
    assert (await answered(*setting, None, "GET")).body == b""


@pytest.mark.parametrize("padding", [0, 20_000], ids=["small", "large"])
async def test_a_body_that_does_not_fit_is_answered_with_pointers_and_never_sent(setting, padding):
    bridge, worker = setting
    response = await bridge.call("/orders", json.dumps({"count": "1" + " " * padding}).encode())
    assert (response.status, response.name, response.problem["ran"]) == (422, "invalid-body", "no")
    assert response.problem["errors"] == [
        {"pointer": "", "message": 'lacks "sku"'},
        {"pointer": "/count", "message": "must be of type integer"},
    ]
    await answered(bridge, worker, b'{"sku": ""}')  # the first that the worker sees
    await bridge.at_rest()


@pytest.mark.parametrize("body", [b"", b"sku", b'{"sku": 1, "sku": 2}', b"\xff"])
async def test_what_is_not_json_is_an_error_of_the_whole(setting, body):
    response = await setting[0].call("/orders", body)
    assert response.status == 422
    assert [error["pointer"] for error in response.problem["errors"]] == [""]


async def test_at_most_twenty_errors_are_listed(implementation):
    route = Route(name="numbers", path="/numbers", queue="n", schema_=BodySchema({"items": {"type": "integer"}}))
    async with FakeBroker() as broker, running(settings_for(broker, [route]), implementation) as bridge:
        response = await bridge.call("/numbers", b"[" + b"0.5," * 100 + b"1]")
        assert len(response.problem["errors"]) == 20
