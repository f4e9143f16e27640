"""`/-/dashboard` on the wire: who gets in, what a page of others can do, and what the feed says."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from urllib.parse import quote

import pytest
import pytest_asyncio

from activemq.testing import FakeBroker
from bridge.endpoints.dashboard import AT_MOST
from bridge.settings import Admin, Route
from tests.bridge.callers import Caller, request, until
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "key of the operator & more"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
OWN = ("Sec-Fetch-Site", "same-origin")


class World:
    def __init__(self, bridge, worker):
        self.bridge, self.worker = bridge, worker

    async def get(self, page, *headers, **options):
        return await self.bridge.call(page, None, method="GET", headers=headers, **options)

    async def log_in(self, key=KEY, *headers):
        body = f"key={quote(key)}".encode()
        return await self.bridge.call("/-/dashboard/login", body, headers=(FORM, *(headers or (OWN,))))

    async def cookie(self):
        response = await self.log_in()
        assert response.status == 303
        return ("Cookie", response.get("set-cookie").partition(";")[0])


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


async def test_without_the_key_there_is_a_form_for_it(world):
    response = await world.get("/-/dashboard")
    assert (response.status, response.get("www-authenticate")) == (401, "Bearer")
    assert b'name="key"' in response.body
    assert b'role="alert" hidden' in response.body


async def test_the_key_opens_a_session_and_the_page(world):
    response = await world.log_in()
    assert (response.status, response.get("location")) == (303, "/-/dashboard")
    cookie = response.get("set-cookie").lower()
    for part in ("httponly", "samesite=strict", "path=/-/", "max-age=43200"):
        assert part in cookie
    assert KEY not in cookie
    page = await world.get("/-/dashboard", await world.cookie())
    assert page.status == 200
    assert b'id="routes"' in page.body


async def test_a_wrong_key_is_told_and_opens_nothing(world):
    response = await world.log_in("wrong")
    assert (response.status, response.get("set-cookie")) == (401, None)
    assert b'role="alert">' in response.body


@pytest.mark.parametrize("body", [b"", b"key=", b"other=x", b"key=" + b"x" * 10_000, b"\xff\xfe", b"&" * 2_000])
async def test_a_form_that_is_none_is_a_wrong_key(world, body):
    response = await world.bridge.call("/-/dashboard/login", body, headers=(FORM, OWN))
    assert response.status in (400, 401)
    assert response.get("set-cookie") is None


async def test_a_page_of_another_site_cannot_log_anybody_in(world):
    for headers in ((("Sec-Fetch-Site", "cross-site"),), (("Sec-Fetch-Site", "same-site"),), (("Origin", "null"),)):
        response = await world.log_in(KEY, *headers)
        assert response.status in (401, 403)
        assert response.get("set-cookie") is None


async def test_an_older_browser_says_its_origin(world):
    assert (await world.log_in(KEY, ("Origin", "http://localhost"))).status == 303
    assert (await world.log_in(KEY, ("Origin", "http://localhost:1"))).status == 401


async def test_with_the_session_all_of_the_api_can_be_read(world):
    cookie = await world.cookie()
    for page in ("status", "history", "problems"):
        assert (await world.get(f"/-/api/{page}", cookie)).status == 200
        assert (await world.get(f"/-/api/{page}")).status == 401


@pytest.mark.parametrize("headers", [(), (("Sec-Fetch-Site", "cross-site"),), (("Sec-Fetch-Site", "same-site"),)])
async def test_what_changes_something_must_come_from_a_page_of_ours(world, headers):
    cookie = await world.cookie()
    response = await world.bridge.call("/-/reload", b"", headers=(cookie, *headers))
    assert response.status in (401, 403)
    allowed = await world.bridge.call("/-/reload", b"", headers=(cookie, OWN))
    assert allowed.status == 404  # this bridge has no file to read, which only the operator is told


async def test_a_forged_session_opens_nothing(world):
    name, value = await world.cookie()
    forged = (name, value[:-1] + ("0" if value[-1] != "0" else "1"))
    assert (await world.get("/-/api/status", forged)).status == 401
    assert (await world.get("/-/dashboard/feed", forged)).status == 401


async def test_logging_out_takes_the_cookie_back(world):
    response = await world.bridge.call("/-/dashboard/logout", b"", headers=(await world.cookie(), OWN))
    assert response.status == 303
    assert "max-age=0" in response.get("set-cookie").lower()


@pytest.mark.parametrize("headers", [(OWN,), (OWN, ("Authorization", "Bearer wrong"))])
async def test_only_the_operator_can_log_out(world, headers):
    response = await world.bridge.call("/-/dashboard/logout", b"", headers=headers)
    assert (response.status, response.get("set-cookie")) == (401, None)


async def test_a_page_of_another_site_cannot_log_the_operator_out(world):
    headers = (await world.cookie(), ("Sec-Fetch-Site", "same-site"))
    response = await world.bridge.call("/-/dashboard/logout", b"", headers=headers)
    assert response.status in (401, 403)
    assert response.get("set-cookie") is None


async def test_a_form_that_does_not_come_is_not_waited_for(world, monkeypatch):
    monkeypatch.setattr("bridge.endpoints.dashboard._FORM_WITHIN", 0.05)
    head = request("/-/dashboard/login", None, headers=(FORM, OWN, ("Content-Length", "40")))
    async with await Caller.connect(world.bridge.port) as caller:
        await caller.send(head + b"key=")
        response = await caller.response()
    assert (response.status, response.get("set-cookie")) == (401, None)


async def test_the_page_needs_nothing_from_elsewhere_and_may_not_be_framed(world):
    response = await world.get("/-/dashboard", await world.cookie())
    policy = response.get("content-security-policy")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert b"//" not in response.body.replace(b"<!doctype html>", b"")
    assert b"style=" not in response.body


@pytest.mark.parametrize("name", ["dashboard.css", "dashboard.js", "uPlot.iife.min.js", "uPlot.min.css"])
async def test_its_files_are_served(world, name):
    response = await world.get(f"/-/dashboard/assets/{name}")
    assert response.status == 200
    assert response.get("x-content-type-options") == "nosniff"


@pytest.mark.parametrize("name", ["login.html", "..%2f..%2fapp.py", "none.css", "uPlot.LICENSE"])
async def test_and_no_others(world, name):
    assert (await world.get(f"/-/dashboard/assets/{name}")).status == 404


class Feed:
    """A reader of the page's stream."""

    def __init__(self, world, cookie):
        self._world, self._cookie = world, cookie

    async def __aenter__(self):
        self._caller = await Caller.connect(self._world.bridge.port)
        await self._caller.send(request("/-/dashboard/feed", None, method="GET", headers=(self._cookie,)))
        self.head = await self._caller.raw_until(b"\r\n\r\n")
        return self

    async def __aexit__(self, *_):
        await self._caller.close()

    async def next(self):
        await self._caller.raw_until(b"data: ")
        return json.loads(await self._caller.raw_until(b"\n\n"))


async def test_the_feed_says_how_things_are_again_and_again(world):
    held = asyncio.create_task(world.bridge.call("/words"))
    message = await world.worker.request("words")
    async with Feed(world, await world.cookie()) as feed:
        assert b"text/event-stream" in feed.head
        first, second = await feed.next(), await feed.next()
    words, lonely = first["routes"]
    assert (first["ready"], first["broker"], first["held"]) == (True, True, 1)
    assert (words["name"], words["held"], words["listeners"], words["busy"], words["backlog"]) == ("words", 1, 1, 1, 1)
    assert (lonely["state"], lonely["listeners"]) == ("down", 0)
    assert "lonely" in lonely["advice"]
    assert second["routes"][0]["name"] == "words"
    await world.worker.reply(message)
    await held


async def test_readers_are_bounded_and_a_place_comes_free(world):
    cookie = await world.cookie()
    feeds = [Feed(world, cookie) for _ in range(AT_MOST)]
    for feed in feeds:
        await feed.__aenter__()
        await feed.next()
    refused = await world.get("/-/dashboard/feed", cookie)
    assert (refused.status, refused.name) == (503, "bridge-full")
    await feeds[0].__aexit__()

    async def there_is_room():
        async with Feed(world, cookie) as feed:
            return b" 200 " in feed.head

    await until_true(there_is_room)
    for feed in feeds[1:]:
        await feed.__aexit__()


async def until_true(ask):
    async with asyncio.timeout(20):
        while not await ask():  # noqa: ASYNC110 - what is asked is over the wire
            await asyncio.sleep(0.05)


async def test_readers_do_not_keep_a_bridge_that_leaves(implementation):
    async with FakeBroker() as broker:
        settings = settings_for(broker, [], store=NO_STORE)
        settings = settings.model_copy(update={"admin": Admin(key_sha256=sha256(KEY.encode()).hexdigest())})
        async with running(settings, implementation) as bridge:
            world = World(bridge, None)
            async with Feed(world, await world.cookie()) as feed:
                await feed.next()
                bridge.stopping.set()
                await until(bridge.served.done)
