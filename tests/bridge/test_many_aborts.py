"""10,000 calls held at once, of whom half leave at the same moment: nothing of them is left, and the others go on."""

from __future__ import annotations

import asyncio

import pytest

from bridge.admission import Admission
from bridge.routing import Router, ServedRoute
from bridge.settings import Route
from tests.bridge.call_bench import Bench, Conversation, serve
from tests.bridge.callers import until

HELD = 10_000
LEAVE = HELD // 2


class Leaving(Conversation):
    """A caller who leaves when ``now`` is set."""

    now: asyncio.Event

    async def receive(self):
        if self._incoming:
            return await super().receive()
        await self.now.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
async def bench():
    bench = Bench(publish_timeout=60.0)
    bench.route = ServedRoute(Route(name="r", path="/r", queue="r", timeout=30.0, max_held=HELD))
    bench.route.queue.put(1)
    bench.admission = bench.app.admission = Admission(HELD, 1 << 30)
    bench.app.router = Router([bench.route])
    bench.link.held = []
    bench.link.on_publish = bench.link.held.append
    yield bench
    bench.wheel.stop()


async def test_of_10_000_held_calls_5_000_leave_at_once_and_no_task_nor_entry_is_left_of_them(bench):
    tasks_before = len(asyncio.all_tasks())
    leave = asyncio.Event()
    leaving, staying = [], []
    for number in range(HELD):
        conversation = Leaving(b"x") if number < LEAVE else Conversation(b"x")
        conversation.now = leave
        calls = leaving if number < LEAVE else staying
        calls.append(asyncio.create_task(serve(bench, conversation, length=1)))
    await until(lambda: len(bench.exchange) == HELD)
    assert bench.admission.held == bench.route.counts.held == bench.route.queue.unanswered == HELD
    leave.set()
    await until(lambda: len(bench.exchange) == HELD - LEAVE)
    await asyncio.gather(*leaving)
    left = HELD - LEAVE
    assert bench.admission.held == bench.route.counts.held == bench.route.queue.unanswered == left
    assert len(bench.link.waiting) == len(bench.route.counts.since) == left
    assert len(bench.link.withdrawn) == LEAVE
    for held in bench.link.held[LEAVE:]:
        bench.link.reply(held, b"answered")
    assert {conversation.body for conversation in await asyncio.gather(*staying)} == {b"answered"}
    # Also the watchers of those that stayed.
    await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
    assert bench.admission.held == bench.admission.memory == len(bench.wheel) == len(bench.exchange) == 0
    assert not bench.link.waiting
    assert not bench.route.counts.since
    assert bench.route.queue.unanswered == 0


async def test_one_call_more_than_may_be_held_is_told_at_once_and_costs_nothing(bench):
    bench.admission = bench.app.admission = Admission(3, 1 << 30)
    calls = [asyncio.create_task(serve(bench, Conversation(b"x"), length=1)) for _ in range(3)]
    await until(lambda: len(bench.exchange) == 3)
    refused = await serve(bench, Conversation(b"x"), length=1)
    assert (refused.status, refused.problem["type"]) == (503, "/problems/bridge-full")
    assert len(bench.link.published) == 3
    for held in bench.link.held:
        bench.link.reply(held)
    await asyncio.gather(*calls)
