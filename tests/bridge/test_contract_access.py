"""Who may call, on the wire: keys, routes, caps, rates, tokens and certificates."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.settings import Admin, Caller, Cors, Jwt, Route
from tests.bridge.access.issuer import AUDIENCE, ISSUER, Issuer
from tests.bridge.callers import until
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOP, OTHER, CAPPED, ADMIN = "key of the shop", "key of another", "key of one with a cap", "key of the operator"
PAGE = "https://app.example.com"


def digest(key):
    return sha256(key.encode()).hexdigest()


def bearer(credential, scheme="Bearer"):
    return (("Authorization", f"{scheme} {credential}"),)


class Site:
    """Serves the issuer's keys over HTTP."""

    def __init__(self):
        self.issuer = Issuer()
        self.asked = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/keys"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = json.dumps(self.issuer.document).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()


class World:
    def __init__(self, bridge, broker, worker, site, load):
        self.bridge, self.broker, self.worker, self.site, self.load = bridge, broker, worker, site, load

    async def call(self, target="/words", body=b"", **options):
        return await self.bridge.call(target, body, **options)

    async def served(self, target="/words", queue="words", **options):
        """Make a call that must be served; return its request message."""
        calling = asyncio.create_task(self.call(target, **options))
        message = await self.worker.request(queue)
        await self.worker.reply(message)
        response = await calling
        assert response.status == 200
        return message


CALLERS = (
    Caller(name="shop", key_sha256=digest(SHOP), routes=("words", "jobs"), jwt=True),
    Caller(name="other", key_sha256=digest(OTHER), routes=("jobs",)),
    Caller(name="capped", key_sha256=digest(CAPPED), routes=("words", "jobs"), max_held=2, rate="1000/s"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(implementation):
    routes = [
        Route(name="words", path="/words", queue="words", async_="never", idempotency="off"),
        Route(name="jobs", path="/maybe-job", queue="jobs"),
        Route(name="nobodys", path="/nobodys", queue="words"),
    ]
    async with Site() as site, FakeBroker() as broker, ToldWorker(broker, "words", "jobs") as worker:
        jwt = Jwt(issuer=ISSUER, audience=AUDIENCE, jwks_url=site.url, routes=("words",), max_held=1)
        changes = {
            "callers": CALLERS,
            "jwt": jwt,
            "admin": Admin(key_sha256=digest(ADMIN)),
            "cors": Cors(origins=(PAGE,)),
        }
        settings = settings_for(broker, routes, drain=40.0).model_copy(update=changes)
        load = [settings]
        async with running(settings, implementation, load=lambda: load[0]) as bridge:
            yield World(bridge, broker, worker, site, load)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_is_left(world):
    yield
    await world.bridge.at_rest()
    assert not any(world.bridge.bridge.access.known(caller.name).held for caller in CALLERS)


# -- keys

WRONG = {
    "none": (),
    "another": bearer("key of nobody"),
    "empty": bearer(""),
    "another scheme": bearer(SHOP, "Basic"),
    "no scheme": (("Authorization", SHOP),),
    "its hash": bearer(digest(SHOP)),
    "a cut one": bearer(SHOP[:-1]),
    "the admin key": bearer(ADMIN),
    "no ASCII": (("Authorization", b"Bearer \xff\xfe"),),
    "three parts that are no token": bearer("a.b.c"),
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("target", ["/words", "/no-such-route", "/jobs/" + "0" * 32, "/openapi.json", "/docs"])
async def test_without_a_credential_that_is_known_the_answer_is_401_everywhere(world, headers, target):
    if headers == WRONG["the admin key"] and target in ("/openapi.json", "/docs"):
        return  # the operator may see what all callers may
    method = "POST" if target == "/words" else "GET"
    response = await world.call(target, method=method, headers=headers)
    assert (response.status, response.name, response.problem["ran"]) == (401, "unauthenticated", "no")
    assert response.get("www-authenticate") == "Bearer"
    assert SHOP not in response.body.decode()


async def test_two_credentials_are_malformed(world):
    response = await world.call(headers=(*bearer(SHOP), *bearer(OTHER)))
    assert (response.status, response.problem["field"]) == (400, "authorization")


def messages_sent(broker):
    # The bridge also looks who listens, at its own times.
    own = ("bridge.presence", "/temp-queue/presence")
    sent = [frame for frame in broker.received if frame.command == "SEND"]
    return len([frame for frame in sent if not frame.headers["destination"].endswith(own)])


async def test_an_unauthorised_call_costs_the_broker_nothing(world):
    await world.served(headers=bearer(SHOP))
    before = messages_sent(world.broker)
    for headers in (*WRONG.values(), bearer(OTHER)):
        response = await world.call(headers=headers)
        assert response.status in (401, 403)
    assert messages_sent(world.broker) == before


async def test_a_key_is_its_callers_and_the_worker_is_told_the_name_only(world):
    message = await world.served(headers=bearer(SHOP))
    assert message.get("caller") == "shop"
    assert SHOP not in repr(message.headers)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(world, scheme):
    await world.served(headers=bearer(SHOP, scheme))


async def test_with_callers_any_host_and_proxy_may_be_between(world):
    await world.served(host="api.example.com", headers=(*bearer(SHOP), ("X-Forwarded-For", "10.0.0.1")))


# -- routes


async def test_a_route_of_others_is_403_and_one_of_nobody_404(world):
    response = await world.call(headers=bearer(OTHER))
    assert (response.status, response.name) == (403, "forbidden")
    assert (await world.call("/nobodys", headers=bearer(SHOP))).status == 403
    assert (await world.call("/no-such", headers=bearer(SHOP))).status == 404


async def test_each_caller_sees_its_own_routes_in_the_document(world):
    async def paths(key):
        response = await world.call("/openapi.json", None, method="GET", headers=bearer(key))
        return set(json.loads(response.body)["paths"])

    assert await paths(SHOP) >= {"/words", "/maybe-job"}
    assert "/words" not in await paths(OTHER)
    assert await paths(ADMIN) >= {"/words", "/maybe-job", "/nobodys"}


async def test_probes_and_problems_need_no_credential(world):
    for page in ("/-/live", "/-/ready", "/problems/forbidden"):
        response = await world.call(page, None, method="GET", host="probe.example.com")
        assert response.status == 200
    details = await world.call("/-/ready", None, method="GET")
    assert json.loads(details.body) == {"ready": True}


@pytest.mark.parametrize("key", [None, SHOP, OTHER])
async def test_a_callers_key_opens_no_page_of_the_operators(world, key):
    headers = () if key is None else bearer(key)
    response = await world.call("/-/api/status", None, method="GET", headers=headers)
    assert (response.status, response.name) == (401, "unauthenticated")


# -- jobs


async def test_a_job_is_its_callers_and_to_others_there_is_none(world):
    response = await world.call("/maybe-job", headers=(*bearer(SHOP), ("Prefer", "respond-async")))
    assert response.status == 202
    location = response.get("location")
    message = await world.worker.request("jobs")
    assert message.get("caller") == "shop"
    for target in (location, f"{location}/result", f"{location}/events"):
        for method in ("GET", "DELETE") if target == location else ("GET",):
            other = await world.call(target, None, method=method, headers=bearer(OTHER))
            assert (other.status, other.name) == (404, "no-job")
    assert (await world.call(location, None, method="GET", headers=bearer(SHOP))).status == 200
    await world.worker.reply(message, b"done")
    result = await world.call(f"{location}/result", None, method="GET", headers=(*bearer(SHOP), ("Prefer", "wait=10")))
    assert result.body == b"done"


async def test_the_same_key_of_two_callers_is_two_jobs(world):
    async def keyed(credential):
        headers = (*bearer(credential), ("Idempotency-Key", "shared"))
        calling = asyncio.create_task(world.call("/maybe-job", headers=headers))
        message = await world.worker.request("jobs")
        await world.worker.reply(message, (message.get("caller") or "").encode())
        return (await calling).body

    assert [await keyed(SHOP), await keyed(OTHER)] == [b"shop", b"other"]


# -- caps and rates


async def test_a_caller_holds_its_cap_and_others_are_not_touched(world):
    held = [asyncio.create_task(world.call(headers=bearer(CAPPED))) for _ in range(2)]
    messages = [await world.worker.request("words") for _ in held]
    response = await world.call(headers=bearer(CAPPED))
    assert (response.status, response.name, response.problem["ran"]) == (429, "caller-limit", "no")
    assert int(response.get("retry-after")) >= 1
    await world.served(headers=bearer(SHOP))
    for message in messages:
        await world.worker.reply(message)
    assert [(await calling).status for calling in held] == [200, 200]
    await world.served(headers=bearer(CAPPED))


async def test_one_who_leaves_gives_its_place_back(world):
    for _ in range(4):
        calling = asyncio.create_task(world.call(headers=bearer(CAPPED)))
        await world.worker.request("words")
        calling.cancel()
        await asyncio.wait([calling])
        await until(lambda: not world.bridge.bridge.access.known("capped").held)


async def test_waiting_for_a_job_counts_towards_the_cap(world):
    headers = (*bearer(CAPPED), ("Prefer", "respond-async"))
    response = await world.call("/maybe-job", headers=headers)
    location, message = response.get("location"), await world.worker.request("jobs")
    wait = (*bearer(CAPPED), ("Prefer", "wait=10"))
    polls = [asyncio.create_task(world.call(location, None, method="GET", headers=wait)) for _ in range(2)]
    await until(lambda: world.bridge.bridge.access.known("capped").held == 2)
    refused = await world.call(location, None, method="GET", headers=wait)
    assert (refused.status, refused.name) == (429, "caller-limit")
    await world.worker.reply(message)
    assert {(await poll).status for poll in polls} == {200}


# -- reload


async def reloaded(world, *callers):
    world.load[0] = world.bridge.bridge.settings.model_copy(update={"callers": callers})
    response = await world.call("/-/reload", method="POST", headers=bearer(ADMIN))
    assert response.status == 200
    return response


async def test_callers_come_and_go_with_a_reload_and_what_is_held_stays(world):
    held = asyncio.create_task(world.call(headers=bearer(CAPPED)))
    message = await world.worker.request("words")
    new = Caller(name="new", key_sha256=digest("new key"), routes=("words",))
    await reloaded(world, CALLERS[0], new)
    assert (await world.call(headers=bearer(CAPPED))).status == 401
    await world.served(headers=bearer("new key"))
    await world.worker.reply(message)
    assert (await held).status == 200
    await reloaded(world, *CALLERS)
    await world.served(headers=bearer(CAPPED))


async def test_what_a_new_route_lets_pass_pages_may_send_and_see(world):
    async def allowed():
        asking = (("Origin", PAGE), ("Access-Control-Request-Method", "POST"))
        response = await world.call("/words", None, method="OPTIONS", headers=asking)
        return response.get("access-control-allow-headers")

    assert "x-tenant" not in await allowed()
    before = world.bridge.bridge.settings
    changed = before.routes[0].model_copy(update={"pass_headers": ("x-tenant",)})
    world.load[0] = before.model_copy(update={"routes": (changed, *before.routes[1:])})
    assert (await world.call("/-/reload", method="POST", headers=bearer(ADMIN))).status == 200
    assert "x-tenant" in await allowed()
    world.load[0] = before
    assert (await world.call("/-/reload", method="POST", headers=bearer(ADMIN))).status == 200


# -- tokens


async def test_a_token_is_the_caller_that_it_names_if_the_settings_let_it(world):
    message = await world.served(headers=bearer(world.site.issuer.token("shop")))
    assert message.get("caller") == "shop"


async def test_a_token_of_a_caller_without_jwt_is_one_of_its_own(world):
    message = await world.served(headers=bearer(world.site.issuer.token("other")))
    assert message.get("caller") == f"jwt:{ISSUER}:other"
    refused = await world.call("/maybe-job", headers=bearer(world.site.issuer.token("other")))
    assert (refused.status, refused.name) == (403, "forbidden")


async def test_callers_by_token_have_caps_of_their_own(world):
    first = asyncio.create_task(world.call(headers=bearer(world.site.issuer.token("ann"))))
    message = await world.worker.request("words")
    refused = await world.call(headers=bearer(world.site.issuer.token("ann")))
    assert (refused.status, refused.name) == (429, "caller-limit")
    await world.served(headers=bearer(world.site.issuer.token("bob")))
    await world.worker.reply(message)
    assert (await first).status == 200


async def test_keys_are_fetched_once_for_all_tokens(world):
    await world.served(headers=bearer(world.site.issuer.token("shop")))
    asked = world.site.asked
    for _ in range(5):
        await world.served(headers=bearer(world.site.issuer.token("shop")))
    assert world.site.asked == asked


async def test_an_expired_token_says_so(world):
    response = await world.call(headers=bearer(world.site.issuer.token("shop", exp=1)))
    assert (response.status, response.problem["detail"]) == (401, "the token has expired")


# -- pages of other sites


PREFLIGHT = (("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "authorization,prefer"))


async def test_a_page_that_the_settings_name_may_call_and_see_what_it_needs(world):
    response = await world.call("/words", None, method="OPTIONS", headers=(("Origin", PAGE), *PREFLIGHT))
    assert (response.status, response.get("access-control-allow-origin")) == (200, PAGE)
    assert "authorization" in response.get("access-control-allow-headers").lower()
    calling = asyncio.create_task(world.call(headers=(*bearer(SHOP), ("Origin", PAGE))))
    await world.worker.reply(await world.worker.request("words"))
    answer = await calling
    assert (answer.status, answer.get("access-control-allow-origin")) == (200, PAGE)
    assert "correlation-id" in answer.get("access-control-expose-headers").lower()


async def test_a_refusal_can_be_read_by_the_page_too(world):
    response = await world.call(headers=(("Origin", PAGE),))
    assert (response.status, response.get("access-control-allow-origin")) == (401, PAGE)


async def test_any_other_page_may_not(world):
    headers = (("Origin", "https://evil.example"), *PREFLIGHT)
    response = await world.call("/words", None, method="OPTIONS", headers=headers)
    assert (response.status, response.get("access-control-allow-origin")) == (400, None)


async def test_an_open_bridge_takes_calls_of_a_page_that_the_settings_name(implementation):
    route = Route(name="words", path="/words", queue="words", async_="never", idempotency="off")
    async with FakeBroker() as broker, ToldWorker(broker, "words") as worker:
        settings = settings_for(broker, [route], store=NO_STORE)
        settings = settings.model_copy(update={"cors": Cors(origins=(PAGE,))})
        async with running(settings, implementation) as bridge:
            headers = (("Origin", PAGE), ("Sec-Fetch-Site", "cross-site"))
            calling = asyncio.create_task(bridge.call("/words", headers=headers))
            await worker.reply(await worker.request("words"))
            assert (await calling).status == 200
            evil = (("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"))
            assert (await bridge.call("/words", headers=evil)).status == 403
