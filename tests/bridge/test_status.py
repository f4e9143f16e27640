"""What the operator sees: the admin key, `/-/api/status`, and what `/-/ready` adds for who has the key."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os

import pytest

from activemq.testing import FakeBroker
from bridge.admin import AdminKey
from bridge.settings import Admin, Route
from tests.bridge.callers import until
from tests.bridge.harness import ToldWorker, running, settings_for

KEY = "correct horse"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
ROUTES = [
    Route(name="echo", path="/echo", queue="echo", timeout=20.0),
    Route(name="none", path="/none", queue="none", max_backlog=7),
]


def settings(broker, **server):
    return settings_for(broker, ROUTES, **server).model_copy(update={"admin": Admin(key_sha256=DIGEST)})


async def get(bridge, target="/-/api/status", key=KEY, **options):
    headers = () if key is None else (("Authorization", f"Bearer {key}"),)
    return await bridge.call(target, None, **{"method": "GET", "headers": headers, **options})


# -- the key


@pytest.mark.parametrize(
    "authorization", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER {KEY}", f"Bearer  {KEY} "], ids=repr
)
def test_the_key_opens(authorization):
    assert AdminKey(DIGEST).opens(authorization)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Bearer {DIGEST}",
     "Bearer caf\xe9", "Bearer \udce9"],
    ids=repr,
)  # fmt: skip
def test_nothing_else_opens(authorization):
    assert not AdminKey(DIGEST).opens(authorization)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", f"Bearer {KEY}"])
def test_without_a_key_nothing_opens(authorization):
    assert not AdminKey("").opens(authorization)


def test_the_key_is_not_shown():
    assert DIGEST not in repr(AdminKey(DIGEST))
    assert repr(AdminKey("")) == "<AdminKey none>"


# -- the pages


@pytest.mark.parametrize("key", [None, "wrong", DIGEST])
async def test_status_without_the_key_is_a_401(implementation, key):
    async with FakeBroker() as broker, running(settings(broker), implementation) as bridge:
        response = await get(bridge, key=key)
        assert (response.status, response.name, response.get("www-authenticate")) == (401, "unauthenticated", "Bearer")
        assert response.problem["ran"] == "no"


async def test_without_any_key_status_is_closed_to_all():
    async with FakeBroker() as broker, running(settings_for(broker, ROUTES), "uvicorn") as bridge:
        assert (await get(bridge)).status == 401
        assert (await get(bridge, key="")).status == 401


async def test_the_key_does_not_let_a_foreign_host_in():
    async with FakeBroker() as broker, running(settings(broker), "uvicorn") as bridge:
        assert (await get(bridge, host="evil.example")).name == "forbidden"


async def test_status_tells_what_is_held_who_listens_and_how_fast_it_goes(implementation):
    async with (
        FakeBroker() as broker,
        ToldWorker(broker, "echo") as worker,
        running(settings(broker), implementation) as bridge,
    ):
        await until(lambda: bridge.bridge.presence.known)
        for _ in range(2):
            calling = asyncio.create_task(bridge.call())
            await worker.reply(await worker.request("echo"))
            await calling
        calling = asyncio.create_task(bridge.call())
        request = await worker.request("echo")
        response = await get(bridge)
        assert (response.status, response.get("cache-control")) == (200, "no-store")
        status = json.loads(response.body)
        echo, none = status.pop("routes")
        assert status == {
            "process": {"number": 1, "of": 1, "pid": os.getpid()},
            "ready": True,
            "broker": {"connected": True, "presence": True},
            "draining": False,
            "held": 1,
            "body_memory": 0,
        }
        assert 0 <= echo.pop("oldest_held_seconds") < 20
        assert echo.pop("answers_per_second") > 0
        assert echo == {
            "name": "echo", "queue": "echo", "held": 1, "listeners": 1, "backlog": 1, "max_backlog": 10_000,
            "answered": 2,
        }  # fmt: skip
        assert none == {
            "name": "none", "queue": "none", "held": 0, "listeners": 0, "backlog": 0, "max_backlog": 7,
            "answered": 0, "answers_per_second": 0.0, "oldest_held_seconds": None,
        }  # fmt: skip
        await worker.reply(request)
        await calling


async def test_what_is_not_known_is_null():
    async with FakeBroker() as broker, running(settings(broker), "uvicorn") as bridge:
        await until(lambda: bridge.bridge.presence.known)
        await broker.stop()
        await until(lambda: not bridge.bridge.presence.known)
        status = json.loads((await get(bridge)).body)
        assert status["ready"] is False
        assert status["broker"]["presence"] is False
        assert [route["listeners"] for route in status["routes"]] == [None, None]


async def test_ready_has_details_only_for_the_key():
    async with FakeBroker() as broker, running(settings(broker), "uvicorn") as bridge:
        assert json.loads((await get(bridge, "/-/ready", key=None)).body) == {"ready": True}
        assert json.loads((await get(bridge, "/-/ready", key="wrong")).body) == {"ready": True}
        details = json.loads((await get(bridge, "/-/ready")).body)
        assert details["ready"] is True
        assert [route["name"] for route in details["routes"]] == ["echo", "none"]
