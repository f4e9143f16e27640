"""The live broker of a pair is killed under load: held calls, jobs, and how soon the bridge is well again.

``--kills 20`` is the long form; it writes its figures into docs/high-availability.md.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from activemq.embedded.pair import ARTEMIS_ZOOKEEPER, SHAPES, SHARED_FILE, SHARED_JDBC
from activemq.protocol import PATIENCE
from tests.ha import report
from tests.ha.load import HOLDERS, Load
from tests.ha.site import Site, load_until
from tests.stopping import go_on, hang

HEARTBEAT = 10.0  # seconds, the default of broker.heartbeat
AFTERWARDS = 8.0  # seconds; time for the one that hung to look at its lock
ANSWERED_BEFORE = 20  # calls, before each kill
# What a call may be told: it ran or may have run (502), or it was not sent (503).
DEFINITE = {"reply", "broker-lost", "broker-unavailable", "no-worker"}


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_live_broker_is_killed_under_load(shape: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kills = report.Kills(shape)
    async with Site(shape, tmp_path) as site, Load(site.bridge.port) as load:
        for _ in range(request.config.getoption("--kills")):
            await kill_once(site, load, kills)
        kills.jobs = await load.finish_jobs()
    assert {one.how for one in load.calls} <= DEFINITE
    assert set(load.refused) <= DEFINITE
    assert kills.jobs > 0
    report.write(kills)


async def kill_once(site: Site, load: Load, kills: report.Kills) -> None:
    """One kill, up to where the killed one stands by again."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    await load_until(load, lambda: len(load.after(before)) > ANSWERED_BEFORE, "calls go on")
    live = await site.live()
    killed = loop.time()
    await live.kill()
    taking_over = asyncio.create_task(site.taken_over_by(site.pair.partner(live)))
    await load_until(load, lambda: load.first_reply_after(killed) is not None, "the bridge is well again")
    taken_over, well = await taking_over, load.first_reply_after(killed)
    assert well is not None
    assert well - taken_over <= HEARTBEAT * PATIENCE, "the bridge did not find the standby within its heart-beats"
    await load_until(load, lambda: load.held_at(killed).total() == HOLDERS, "those that were held have an answer")
    kills.taken_over.append(taken_over - killed)
    kills.well.append(well - killed)
    kills.held += load.held_at(killed)
    await live.start()
    assert not await live.is_live(), "two brokers answer"


async def test_a_zookeeper_node_is_killed_and_nothing_is_noticed(tmp_path: Path) -> None:
    """First the one that leads, then one that follows; the third must be back before that."""
    async with Site(ARTEMIS_ZOOKEEPER, tmp_path) as site, Load(site.bridge.port) as load:
        zookeeper, live = site.pair.zookeeper, await site.live()
        assert zookeeper is not None
        for role in ("leader", "follower"):
            roles = [await node.role() for node in zookeeper.nodes]
            node = zookeeper.nodes[roles.index(role)]
            await node.kill()
            killed = asyncio.get_running_loop().time()
            # Longer than a broker goes on without ZooKeeper, which is a third of its session.
            await load_until(load, lambda killed=killed: any(one.began > killed + 6.0 for one in load.calls), "calls")
            await zookeeper.start()
        jobs = await load.finish_jobs()
        assert await site.live() is live
        assert not await site.pair.partner(live).is_live()
    assert {one.how for one in load.calls} == {"reply"}
    assert not load.refused
    assert jobs > 0


@pytest.mark.parametrize("shape", [SHARED_JDBC, ARTEMIS_ZOOKEEPER])
async def test_a_live_broker_that_hangs_is_replaced_and_never_serves_beside_the_other(
    shape: str, tmp_path: Path
) -> None:
    """SIGSTOP, as a long pause of the machine: its lock runs out. When it goes on it must see that, and leave."""
    async with Site(shape, tmp_path, heartbeat=1.0) as site, Load(site.bridge.port) as load:
        loop = asyncio.get_running_loop()
        live = await site.live()
        other = site.pair.partner(live)
        await hang(live.pid)
        stopped = loop.time()
        try:
            await load_until(load, lambda: load.first_reply_after(stopped) is not None, "the bridge is well again")
            assert await other.is_live()
        finally:
            go_on(live.pid)
        resumed = loop.time()
        await load_until(load, lambda: any(one.began > resumed + AFTERWARDS for one in load.calls), "calls go on")
        assert await other.is_live()
        assert not await live.is_live()
        assert {one.how for one in load.calls if one.began > resumed} == {"reply"}, "the bridge has left the live one"
        assert await load.finish_jobs() > 0
    assert {one.how for one in load.calls} <= DEFINITE


async def test_on_a_shared_file_system_a_live_broker_that_hangs_keeps_its_lock(tmp_path: Path) -> None:
    """What the documentation says of this shape: callers are told, nobody takes over, and it goes on as it was."""
    async with Site(SHARED_FILE, tmp_path, heartbeat=1.0) as site, Load(site.bridge.port) as load:
        loop = asyncio.get_running_loop()
        live = await site.live()
        await hang(live.pid)
        stopped = loop.time()
        try:
            await load_until(load, lambda: "broker-unavailable" in {one.how for one in load.after(stopped)}, "503")
            await load_until(load, lambda: any(one.began > stopped + AFTERWARDS for one in load.calls), "time goes by")
            assert not await site.pair.partner(live).is_live()
        finally:
            go_on(live.pid)
        resumed = loop.time()
        await load_until(load, lambda: load.first_reply_after(resumed) is not None, "the bridge is well again")
        assert await live.is_live()
        assert await load.finish_jobs() > 0
    assert {one.how for one in load.calls} <= DEFINITE
