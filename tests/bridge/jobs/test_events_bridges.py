"""Events with several bridges of one store, with bridges that end, and with stores that are away."""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
from contextlib import closing

import pytest
from pydantic import SecretStr

from bridge.jobs.keeper import Keeper
from bridge.jobs.link import JobLink
from bridge.settings import Store
from tests.bridge.callers import until
from tests.bridge.harness import sqlite
from tests.bridge.jobs.conftest import new_database
from tests.bridge.jobs.test_trouble import limit_pages, own_server, the_store_is
from tests.bridge.jobs.world import a_world

__all__ = ["own_server"]


@pytest.fixture
def queue():
    """Queues of each test's own: some leave messages."""
    prefix = f"test.{secrets.token_hex(4)}"
    return lambda name: f"{prefix}.{name}"


async def test_readers_at_both_bridges_see_all_in_order_whichever_bridge_takes_it(broker, queue, url):
    """The broker spreads the words of a worker over the bridges."""
    async with a_world(broker, queue, bridges=2, store=Store(url=SecretStr(url))) as world:
        location, request = await world.begun()
        async with world.follow(location, at=0) as one, world.follow(location, at=1) as other:
            for at in range(1, 101):
                await world.tell(request, "chunk", b"%d" % at, attempt="1", sequence=str(at))
            await world.worker.reply(request, b"all", attempt="1", sequence="101")
            both = [await one.rest(), await other.rest()]
        taken = [bridge.bridge.jobs._running.replies.counts for bridge in world.bridges]
        assert all(counts.noted for counts in taken)
        assert sum(counts.gaps for counts in taken) == 0
        assert both[0] == both[1]
        assert [data for kind, _, data in both[0] if kind == "chunk"] == list(range(1, 101))
        assert [number for _, number, _ in both[0]] == list(range(1, 103))


async def test_a_reader_resumes_at_the_other_bridge(broker, queue):
    async with a_world(broker, queue, bridges=2) as world:
        location, request = await world.begun()
        for at in (1, 2):
            await world.tell(request, "chunk", b"%d" % at, attempt="1", sequence=str(at))
        async with world.follow(location, at=0) as reader:
            assert [(await reader.next())[1] for _ in range(2)] == [1, 2]
        async with world.follow(location, 2, at=1) as reader:
            assert await reader.next() == ("chunk", 3, 2)
            await world.worker.reply(request, b"all")
            assert [number for _, number, _ in await reader.rest()] == [4]


async def test_a_reader_resumes_after_a_restart_of_the_bridge(broker, queue, tmp_path):
    store = Store(url=sqlite(tmp_path))
    async with a_world(broker, queue, store=store) as world:
        location, request = await world.begun()
        await world.tell(request, "chunk", b"1", attempt="1", sequence="1")
        async with world.follow(location) as reader:
            seen = [await reader.next() for _ in range(2)]
    async with a_world(broker, queue, store=store) as world:
        await world.tell(request, "chunk", b"2", attempt="1", sequence="2")
        async with world.follow(location, seen[-1][1]) as reader:
            assert await reader.next() == ("chunk", 3, 2)
            await world.worker.reply(request, b"all", attempt="1", sequence="3")
            assert [kind for kind, _, _ in await reader.rest()] == ["done"]


async def test_a_reader_at_another_bridge_hears_by_the_wake_topic_alone(broker, queue, monkeypatch):
    async def never(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("bridge.jobs.followers.Followers.poll", never)
    await _both_hear(broker, queue)


async def test_a_reader_at_another_bridge_hears_by_looking_alone(broker, queue, monkeypatch):
    monkeypatch.setattr(JobLink, "wake", lambda *_: None)
    monkeypatch.setattr(Keeper, "look_at", lambda *_: None)
    await _both_hear(broker, queue)


async def _both_hear(broker, queue):
    async with a_world(broker, queue, bridges=2) as world:
        location, request = await world.begun()
        async with world.follow(location, at=0) as one, world.follow(location, at=1) as other:
            await until(lambda: all(bridge.bridge.admission.held == 1 for bridge in world.bridges), "both follow")
            for at in (1, 2):
                await world.tell(request, "progress", b"%d" % at, attempt="1", sequence=str(at))
                for reader in (one, other):
                    while (await reader.next())[2] != at:
                        pass
            await world.worker.reply(request, b"all", attempt="1", sequence="3")
            for reader in (one, other):
                assert (await reader.rest())[-1][0] == "done"


async def test_words_that_find_the_disk_full_are_kept_by_the_broker(broker, queue, tmp_path):
    async with a_world(broker, queue, store=Store(url=sqlite(tmp_path))) as world:
        location, request = await world.begun()
        with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
        limit_pages(world, pages)
        parts = [json.dumps(str(at) * 60_000).encode() for at in range(1, 8)]
        for at, part in enumerate(parts, 1):
            await world.tell(request, "chunk", part, attempt="1", sequence=str(at))
        await the_store_is(world, there=False)
        limit_pages(world, 1_000_000)
        await the_store_is(world, there=True)
        await world.worker.reply(request, b"all", attempt="1", sequence="8")
        async with world.follow(location) as reader:
            found = [data for kind, _, data in await reader.rest() if kind == "chunk"]
        assert found == [json.loads(part) for part in parts]


async def test_words_that_come_while_the_store_is_away_are_kept_by_the_broker(own_server, broker, queue):
    store = Store(url=SecretStr(await new_database(own_server)))
    async with a_world(broker, queue, store=store) as world:
        location, request = await world.begun()
        async with world.follow(location) as reader:
            await world.tell(request, "chunk", b"1", attempt="1", sequence="1")
            assert [(await reader.next())[1] for _ in range(2)] == [1, 2]
            own_server.kill()
            for at in (2, 3, 4):
                await world.tell(request, "chunk", b"%d" % at, attempt="1", sequence=str(at))
            await world.worker.reply(request, b"all", attempt="1", sequence="5")
            await the_store_is(world, there=False)
            assert (await world.get(location + "/events")).name == "store-unavailable"
            own_server.start()
            await the_store_is(world, there=True)
            assert [(kind, data) for kind, _, data in (await reader.rest())[:-1]] == [
                ("chunk", 2), ("chunk", 3), ("chunk", 4),
            ]  # fmt: skip
        assert (await world.get(location + "/result")).body == b"all"
