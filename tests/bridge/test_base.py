"""What a bridge loads: a store's libraries where a route can have jobs, a schema's where one has one, else neither."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from activemq.testing import FakeBroker
from bridge.jobs.none import NoJobs
from bridge.settings import Admin, Route, Store
from tests.bridge.harness import NO_STORE, ToldWorker, running, settings_for
from tests.bridge.test_reload import KEY, KEY_SHA256, post_reload

if TYPE_CHECKING:
    from pathlib import Path

HELD: dict[str, Any] = {"path": "/echo", "queue": "q", "async_": "never", "idempotency": "off", "timeout": 10.0}
LIBRARIES = {"sqlalchemy", "alembic", "sqlite3", "asyncmy", "asyncpg", "jsonschema", "referencing", "regex"}
STARTED = """
import asyncio, json, sys
from pydantic import SecretStr
import bridge.server, mqbridge.commands.serve
from bridge.app import Bridge
from bridge.settings import Broker, BrokerUrl, Route, Settings, Store

async def main(options, url):
    broker = Broker(urls=(BrokerUrl("127.0.0.1", 1, tls=False),))
    settings = Settings(routes=(Route(name="echo", **options),), broker=broker, store=Store(url=SecretStr(url)))
    bridge = Bridge(settings)
    await bridge.start()
    json.dump(sorted({name.partition(".")[0] for name in sys.modules}), sys.stdout)
    await bridge.stop()

asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2]))
"""


def loaded(options: dict[str, Any], folder: Path) -> set[str]:
    """Start a bridge in a fresh interpreter; return which of the libraries are there before any call has come."""
    command = [sys.executable, "-c", STARTED, json.dumps(options), f"sqlite:///{folder}/jobs.db"]
    found = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return set(json.loads(found.stdout)) & LIBRARIES


def test_where_no_route_can_have_jobs_or_has_a_schema_nothing_for_them_is_loaded(tmp_path):
    assert loaded(HELD, tmp_path) == set()
    assert not list(tmp_path.iterdir()), "no store was made"


@pytest.mark.parametrize("option", [{"async_": "allowed"}, {"async_": "always"}, {"idempotency": "optional"}])
def test_where_a_route_can_have_jobs_the_store_is_loaded_at_the_start(tmp_path, option):
    assert {"sqlalchemy", "sqlite3"} <= loaded(HELD | option, tmp_path)


def test_a_database_server_is_loaded_only_where_it_is_used(tmp_path):
    script = "import bridge.jobs.sql, json, sys; json.dump('sqlalchemy.ext.asyncio' in sys.modules, sys.stdout)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert found.stdout == b"false"


@pytest.fixture
async def without_jobs(implementation, tmp_path):
    """A bridge without a store, a worker, and what the next look at the settings will find."""
    async with FakeBroker() as broker, ToldWorker(broker, "q") as worker:
        store = Store(url=SecretStr(f"sqlite:///{tmp_path}/jobs.db"))
        settings = settings_for(broker, [Route(name="echo", **HELD)], store=store)
        found = [settings.model_copy(update={"admin": Admin(key_sha256=KEY_SHA256)})]
        async with running(found[0], implementation, load=lambda: found[0]) as bridge:
            yield bridge, worker, found


async def test_without_a_store_calls_are_answered_the_bridge_is_ready_and_there_are_no_jobs(without_jobs):
    bridge, worker, _ = without_jobs
    assert isinstance(bridge.bridge.jobs, NoJobs)
    assert (await bridge.call("/-/ready", None, method="GET")).status == 200
    page = await bridge.call(f"/jobs/{'0' * 32}", None, method="GET")
    assert (page.status, page.name) == (404, "no-job")
    listed = await bridge.call("/-/api/jobs", None, method="GET", headers=(("Authorization", f"Bearer {KEY}"),))
    assert (listed.status, listed.name) == (404, "no-route")
    calling = asyncio.create_task(
        bridge.call("/echo", b"x", headers=(("Idempotency-Key", "k"), ("Prefer", "respond-async")))
    )
    await worker.reply(await worker.request("q"), b"held")
    assert (await calling).body == b"held"


async def test_a_reload_that_brings_the_first_route_with_jobs_opens_the_store(without_jobs, tmp_path):
    bridge, _, found = without_jobs
    assert not (tmp_path / "jobs.db").exists()
    found[0] = found[0].model_copy(update={"routes": (Route(name="echo", **HELD | {"async_": "allowed"}),)})
    assert (await post_reload(bridge)).status == 200
    await bridge.bridge.jobs.settled
    assert not isinstance(bridge.bridge.jobs, NoJobs)
    assert (tmp_path / "jobs.db").exists()


async def test_a_reload_whose_jobs_can_have_no_store_changes_nothing(implementation, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiomysql", None)  # as where it is not installed
    async with FakeBroker() as broker:
        store = Store(url=SecretStr("mysql+aiomysql://me:hidden@h/d"))
        settings = settings_for(broker, [Route(name="echo", **HELD)], store=store)
        found = [settings.model_copy(update={"admin": Admin(key_sha256=KEY_SHA256)})]
        async with running(found[0], implementation, load=lambda: found[0]) as bridge:
            found[0] = found[0].model_copy(update={"routes": (Route(name="echo", **HELD | {"async_": "allowed"}),)})
            response = await post_reload(bridge)
            assert response.status == 422, response
            assert b"store.url" in response.body
            assert b"hidden" not in response.body
            assert not bridge.bridge.router.routes[0].settings.may_be_job


async def test_a_store_that_turns_out_to_be_unusable_after_a_reload_ends_no_call(implementation):
    async with FakeBroker() as broker, ToldWorker(broker, "q"):
        settings = settings_for(broker, [Route(name="echo", **HELD)], store=NO_STORE)
        found = [settings.model_copy(update={"admin": Admin(key_sha256=KEY_SHA256)})]
        async with running(found[0], implementation, load=lambda: found[0]) as bridge:
            found[0] = found[0].model_copy(update={"routes": (Route(name="echo", **HELD | {"async_": "allowed"}),)})
            assert (await post_reload(bridge)).status == 200
            refused = await bridge.call("/echo", b"", headers=(("Prefer", "respond-async"),))
            assert (refused.status, refused.name) == (503, "store-unavailable")
            assert not bridge.served.done()
