"""Brokers that fail, bridges that come and go: what callers are told, and that it mends by itself."""

from __future__ import annotations

import secrets

import pytest

from activemq.testing import FakeBroker
from bridge.jobs.sql import SqlStore
from bridge.jobs.store import StoreRefusedError
from bridge.settings import Store
from tests.bridge.callers import until
from tests.bridge.harness import running, settings_for, sqlite
from tests.bridge.jobs.make import new_job
from tests.bridge.jobs.world import ASYNC, a_world, key, routes_for

pytestmark = pytest.mark.every_broker


@pytest.fixture
def queue():
    """Queues of each test's own: some leave messages."""
    prefix = f"test.{secrets.token_hex(4)}"
    return lambda name: f"{prefix}.{name}"


# -- the broker


async def test_a_recorded_answer_needs_no_broker(own_broker, queue):
    broker = await own_broker()
    async with a_world(broker, queue) as world:
        calling = world.begin("/echo", b"x", key("k"))
        await world.worker.reply(await world.request(), b"recorded")
        assert (await calling).status == 200
        location = await world.accepted()
        await broker.kill()
        await until(lambda: not world.bridge.bridge.jobs.client.connected)
        again = await world.post("/echo", b"x", key("k"))
        assert (again.status, again.body, again.get("idempotency-replayed")) == (200, b"recorded", "true")
        assert (await world.post("/echo", b"y", key("k"))).name == "idempotency-mismatch"
        for headers in (ASYNC, key("new")):
            response = await world.post("/echo", b"x", headers)
            assert (response.status, response.name, response.problem["ran"]) == (503, "broker-unavailable", "no")
        assert (await world.get(location)).status == 200
        assert (await world.post("/echo", b"x", key("k"), ASYNC)).status == 200


async def test_a_keyed_call_survives_a_broker_that_is_killed(own_broker, queue):
    broker = await own_broker()
    async with a_world(broker, queue) as world:
        calls = [world.begin("/echo", b"%d" % n, key(f"k{n}"), ("Prefer", "wait=10")) for n in range(5)]
        requests = [await world.request() for _ in calls]
        await broker.kill()
        await until(lambda: not world.bridge.bridge.jobs.client.connected)
        await broker.start()
        await until(lambda: world.bridge.bridge.jobs.ready)
        await world.worker.client.wait_connected()
        for request in requests:
            await world.worker.reply(request, request.body, persistent="true")
        assert [(await call).body for call in calls] == [b"%d" % n for n in range(5)]


async def test_a_broker_that_refuses_the_message_frees_the_key_and_leaves_no_job(queue):
    async with FakeBroker() as broker, a_world(broker, queue) as world:
        broker.refuse(f"/queue/{world.queue('quick')}", "the queue is full")
        calls = [world.begin("/quick", b"x", key("k")) for _ in range(3)] + [world.begin("/quick", b"x", ASYNC)]
        for call in calls:
            response = await call
            assert (response.status, response.name, response.problem["ran"]) == (503, "queue-full", "no")
            assert (await world.get("/jobs/" + response.get("correlation-id"))).name == "no-job"


async def test_a_message_that_is_not_confirmed_is_told_as_maybe_and_sent_again(queue):
    async with FakeBroker() as broker, a_world(broker, queue, publish_timeout=0.5) as world:
        world_link = world.bridge.bridge.jobs._running.link
        publish = world_link.publish
        lost = []
        world_link.publish = lambda job, request, on_receipt: lost.append(job.id)  # as if it never got there
        response = await world.post("/echo", b"x", ASYNC)
        assert (response.status, response.name, response.problem["ran"]) == (503, "broker-unavailable", "maybe")
        held = await world.post("/quick", b"x", key("k"))
        assert (held.status, held.name, held.problem["ran"]) == (503, "broker-unavailable", "maybe")
        world_link.publish = publish
        request = await world.request()  # the lease is over, and it is sent
        assert request.get("correlation-id") == response.get("correlation-id") == lost[0]
        await world.worker.reply(request, b"after all")
        assert (await world.is_over(f"/jobs/{lost[0]}"))["state"] == "done"
        again = world.begin("/quick", b"x", key("k"))
        await world.worker.reply(await world.request("quick"), b"joined")
        assert (await again).body in (b"joined", again.result().body)


# -- several bridges


async def test_bridges_of_one_store_and_one_broker_meet(broker, queue):
    async with a_world(broker, queue, bridges=3) as world:
        assert all(bridge.bridge.jobs.ready for bridge in world.bridges)


async def test_a_bridge_at_another_broker_is_refused(broker, queue, tmp_path):
    store = Store(url=sqlite(tmp_path))
    async with a_world(broker, queue, store=store) as world, FakeBroker() as other:
        settings = settings_for(other, routes_for(queue), store=store)
        refused = await _refused(settings)
        assert "another broker" in str(refused)
        assert "broker.urls" in str(refused)
        assert (await world.accepted()).startswith("/jobs/")
        world.worker.forget()


async def _refused(settings):
    """Serve; no job is taken meanwhile; return why it ended."""
    try:
        async with running(settings, "uvicorn", connected=False) as bridge:
            await until(lambda: bridge.bridge.jobs.client.connected)
            response = await bridge.call("/echo", b"x", headers=(ASYNC,))
            assert (response.status, response.name) == (503, "store-unavailable")
            await bridge.served
    except StoreRefusedError as error:
        return error
    raise AssertionError("it was not refused")


async def test_a_bridge_whose_predecessor_died_starts(broker, queue, tmp_path):
    url = sqlite(tmp_path)
    store = SqlStore(url.get_secret_value())
    await store.open()
    await store.join("the-dead")
    await store.close()
    async with a_world(broker, queue, store=Store(url=url)) as world:
        assert world.bridge.bridge.jobs.ready
        assert await world.bridge.bridge.jobs._store.join("x") == {world.bridge.bridge.jobs.name}


async def test_the_next_bridge_finds_all_that_the_last_one_had(broker, queue, tmp_path):
    store = Store(url=sqlite(tmp_path))
    async with a_world(broker, queue, store=store) as world:
        calling = world.begin("/echo", b"x", key("k"))
        await world.worker.reply(await world.request(), b"kept")
        await calling
        location = await world.accepted()
        request = await world.request()
    async with a_world(broker, queue, store=store) as world:
        again = await world.post("/echo", b"x", key("k"))
        assert (again.body, again.get("idempotency-replayed")) == (b"kept", "true")
        await world.worker.reply(request, b"while nobody was there")
        await world.is_over(location)
        assert (await world.get(location + "/result")).body == b"while nobody was there"


async def test_what_a_bridge_left_unsent_is_sent_by_another(broker, queue, tmp_path):
    url = sqlite(tmp_path)
    async with a_world(broker, queue, store=Store(url=url), publish_timeout=0.5) as world:
        jobs = world.bridge.bridge.jobs
        left = new_job(owner="the-dead", lease_ms=jobs.now_ms() + 500, deadline_ms=jobs.now_ms() + 60_000)
        request = left.request.__class__(world.queue("echo"), 4, (("attempt", "1"),), b"left")
        await jobs._store.create(left.__class__(left.job, request, left.owner, left.lease_ms), jobs.now_ms())
        message = await world.request()
        assert (message.body, message.get("correlation-id")) == (b"left", left.job.id)
        await world.worker.reply(message, b"sent by the other")
        assert (await world.is_over(f"/jobs/{left.job.id}"))["state"] == "done"


async def test_who_is_held_when_the_bridge_is_cut_is_told_that_the_job_goes_on(broker, queue):
    async with a_world(broker, queue, drain=0.1) as world:
        calls = [world.begin("/echo", b"x", key("k")), world.begin("/echo", b"x", ("Prefer", "respond-async, wait=9"))]
        for _ in calls:
            await world.request()
        await until(lambda: len(world.bridge.bridge.jobs.holders) == 2, "both are held")
        world.bridge.stopping.set()
        keyed, asynchronous = [await call for call in calls]
        assert (keyed.status, keyed.name, keyed.get("location")) == (
            504,
            "deadline",
            f"/jobs/{keyed.get('correlation-id')}",
        )
        assert asynchronous.status == 202
