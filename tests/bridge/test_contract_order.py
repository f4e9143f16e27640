"""The order of checks: of two rules that a request breaks, the earlier one answers."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from itertools import combinations

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.schema import BodySchema
from bridge.settings import Caller, Route
from tests.bridge.callers import Caller as Connection
from tests.bridge.callers import until
from tests.bridge.harness import NO_STORE, running, settings_for

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.every_broker]

# The order of docs/http.md. Each breaks one rule, in the request or in the bridge.
ORDER = {
    "framing": 400,
    "unauthenticated": 401,
    "no-route": 404,
    "method-not-allowed": 405,
    "forbidden": 403,
    "uri-too-long": 414,
    "headers-too-large": 431,
    "body-too-large": 413,
    "unsupported-media-type": 415,
    "draining": 503,
    "caller-limit": 429,
    "bridge-full": 503,
    "route-full": 503,
    "body-timeout": 408,
    "invalid-body": 422,
    "store-unavailable": 503,
    "broker-unavailable": 503,
    "no-worker": 503,
    "queue-full": 503,
}
STATES = {"draining", "bridge-full", "route-full", "broker-unavailable", "no-worker", "queue-full"}
IMPOSSIBLE = {
    ("no-route", "method-not-allowed"),  # a path that is none has no methods
    ("body-too-large", "body-timeout"),  # nobody waits for a body that is refused by its length
}
PAIRS = [pair for pair in combinations(ORDER, 2) if pair not in IMPOSSIBLE]
MAX_HELD = 50
KEYS = {
    "shop": "of the shop",
    "slow": "of one whose rate is used up",
    "other": "of one with another route, and no rate",
}
CALLERS = (
    Caller(name="shop", key_sha256=sha256(KEYS["shop"].encode()).hexdigest(), routes=("png",), rate="1000000/s"),
    Caller(name="slow", key_sha256=sha256(KEYS["slow"].encode()).hexdigest(), routes=("png",), rate="1/h"),
    Caller(name="other", key_sha256=sha256(KEYS["other"].encode()).hexdigest(), routes=("spare",), rate="1/h"),
)


def broken(*rules):
    """Encode a request that breaks these rules, and no other."""
    method = "DELETE" if "method-not-allowed" in rules else "POST"
    target = "/nothing" if "no-route" in rules else "/png"
    if "uri-too-long" in rules:
        target += "?" + "a" * 9_000
    lines = [f"{method} {target} HTTP/1.1", "Host: example.com"]
    if "unauthenticated" not in rules:
        name = "other" if "forbidden" in rules else "slow" if "caller-limit" in rules else "shop"
        lines.append(f"Authorization: Bearer {KEYS[name]}")
    if "headers-too-large" in rules:
        lines.append("X-Pass: " + "a" * 9_000)
    lines.append(f"Content-Type: {'text/plain' if 'unsupported-media-type' in rules else 'image/png'}")
    if "store-unavailable" in rules:
        lines.append("Prefer: respond-async")
    length = "100000" if "body-too-large" in rules else "5"
    lines.append(f"Content-Length: {length}")
    if "framing" in rules:
        lines.append("Transfer-Encoding: chunked")
    body = b"hello" if "invalid-body" in rules else b'"ok!"'
    if {"body-timeout", "body-too-large"} & set(rules):
        body = b""
    if "framing" in rules:
        body = b"5\r\n" + body.ljust(5) + b"\r\n0\r\n\r\n"
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def start(implementation, broker):
    route = Route(
        name="png",
        path="/png",
        queue="png",
        max_body=1_000,
        max_held=MAX_HELD,
        accepts=("image/png",),
        pass_headers=("x-pass",),
        schema_=BodySchema({"type": "string"}),
    )
    spare = Route(name="spare", path="/spare", queue="png")
    settings = settings_for(broker, [route, spare], store=NO_STORE, body_timeout=0.2, max_held=MAX_HELD)
    return running(settings.model_copy(update={"callers": CALLERS}), implementation)


def use_up_the_rates(bridge):
    for caller in CALLERS[1:]:
        bridge.bridge.access.known(caller.name).check_rate(asyncio.get_running_loop().time())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connected(implementation):
    async with FakeBroker() as broker, await start(implementation, broker) as bridge:
        await until(lambda: bridge.bridge.presence.known)
        bridge.bridge._lookout.stop()  # from here on it is the test that says who listens
        use_up_the_rates(bridge)
        yield bridge


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone(implementation):
    """A bridge whose broker went away."""
    async with FakeBroker() as broker, await start(implementation, broker) as bridge:
        await broker.stop()
        await until(lambda: not bridge.bridge.client.connected)
        use_up_the_rates(bridge)
        yield bridge


async def answer(bridge, *rules):
    """Break the rules; return the name of the problem, or ``framing`` for what the HTTP server may refuse itself."""
    admission = bridge.bridge.admission
    route, _ = bridge.bridge._call.router.routes
    admission.draining = "draining" in rules
    admission.held = MAX_HELD if "bridge-full" in rules else 0
    route.counts.held = MAX_HELD if "route-full" in rules else 0
    route.queue.put(0 if "no-worker" in rules else 1, sure=True)
    route.queue.unanswered = route.settings.max_backlog if "queue-full" in rules else 0
    try:
        async with await Connection.connect(bridge.port) as caller:
            await caller.send(broken(*rules))
            response = await caller.response()
    finally:
        admission.draining, admission.held, route.counts.held, route.queue.unanswered = False, 0, 0, 0
    if response.status == 400:
        return "framing"
    assert response.status == ORDER[response.name]
    assert response.problem["ran"] == "no"
    assert (response.get("connection") == "close") or response.name != "draining"
    return response.name


@pytest.mark.parametrize("rule", ORDER)
async def test_each_rule_alone(connected, alone, rule):
    assert await answer(alone if rule == "broker-unavailable" else connected, rule) == rule


@pytest.mark.parametrize(("earlier", "later"), PAIRS, ids=[f"{one} before {other}" for one, other in PAIRS])
async def test_of_two_the_earlier_answers(connected, alone, earlier, later):
    bridge = alone if "broker-unavailable" in (earlier, later) else connected
    assert await answer(bridge, later, earlier) == earlier
