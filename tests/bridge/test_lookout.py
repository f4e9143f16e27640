"""The second connection's eye on the workers: what is asked of the broker, and what is done when it is silent."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from activemq import Client, Server
from activemq.testing import FakeBroker
from bridge import lookout as module
from bridge.lookout import BEACON, Lookout
from bridge.presence import UNKNOWN, Presence
from tests.bridge.callers import until

ADVISORIES = "/topic/ActiveMQ.Advisory.Consumer.>"


class World:
    """A lookout on a broker in memory, its clock in the test's hands, and workers on connections of their own."""

    def __init__(self, broker: FakeBroker, *queues: str) -> None:
        self.broker = broker
        self.main, self.side, self.workers = (Client([Server("127.0.0.1", broker.port)]) for _ in range(3))
        self.presence = Presence(queues or ("q",), BEACON)
        self.lookout = Lookout(self.main, self.side, self.presence, "us")
        self.queue = next(iter(self.presence.queues.values()))

    async def start(self) -> None:
        for client in (self.main, self.side, self.workers):
            await client.start()
            await client.wait_connected()

    async def stop(self) -> None:
        self.lookout.stop()
        for client in (self.main, self.side, self.workers):
            await client.stop()

    def work(self, queue: str = "q") -> Any:
        return self.workers.subscribe(lambda p: p.consume(queue), lambda _: None)

    def sent(self, destination: str) -> int:
        return sum(frame.headers.get("destination") == destination for frame in self.broker.received)

    def rolls(self) -> int:
        return sum(frame.command == "SUBSCRIBE" for frame in self.broker.received if frame.headers.get("selector"))


@pytest.fixture
async def broker():
    async with FakeBroker() as broker:
        yield broker


@pytest.fixture
async def world(broker):
    world = World(broker)
    yield world
    await world.stop()


async def test_with_both_connections_there_it_is_known_who_listens(world):
    world.work()
    await world.start()
    await until(lambda: world.presence.known)
    assert world.queue.listeners == 1


async def test_with_one_connection_nothing_is_known(world):
    await world.side.start()
    await world.side.wait_connected()
    assert world.rolls() == 0
    await world.main.start()
    await until(lambda: world.presence.known)


@pytest.mark.parametrize("name", ["main", "side"])
async def test_what_is_known_is_forgotten_with_either_connection_and_asked_anew(world, name):
    await world.start()
    await until(lambda: world.presence.known)
    client = getattr(world, name)
    client._connection.abort(ConnectionError("cut"))
    await until(lambda: world.queue.listeners == UNKNOWN)
    await until(lambda: world.presence.known)
    assert world.queue.sure


async def test_a_bridge_without_routes_asks_nothing(broker):
    world = World(broker)
    world.presence.queues.clear()
    await world.start()
    world.lookout._tick()
    assert world.sent(f"/topic/{BEACON}") == 1  # its subscription
    await world.stop()


async def test_many_queues_are_asked_for_in_pieces_and_each_is_heard(broker):
    names = [f"q{number}" for number in range(100)]
    world = World(broker, *names)
    for name in names[::7]:
        world.work(name)
    await world.start()
    await until(lambda: world.presence.known)
    assert {name for name in names if world.presence[name].listeners} == set(names[::7])
    await world.stop()


async def test_nobody_is_said_only_after_a_message_to_ourselves_has_come_back(world):
    await world.start()
    await until(lambda: world.queue.sure)
    echoes = world.sent("/temp-queue/presence")
    assert await world.lookout.nobody(world.queue)
    assert world.sent("/temp-queue/presence") == echoes + 1


async def test_all_who_ask_at_a_time_share_two_messages(world):
    await world.start()
    await until(lambda: world.queue.sure)
    echoes = world.sent("/temp-queue/presence")
    assert all(await asyncio.gather(*(world.lookout.nobody(world.queue) for _ in range(100))))
    assert world.sent("/temp-queue/presence") <= echoes + 2


async def test_a_zero_in_doubt_is_answered_after_the_roll_call(world):
    worker = world.work()
    await world.start()
    await until(lambda: world.queue.listeners == 1)
    rolls = world.rolls()
    world.workers.unsubscribe(worker)
    await until(lambda: world.queue.listeners == 0)
    assert await world.lookout.nobody(world.queue)
    assert world.queue.sure
    assert world.rolls() > rolls


@pytest.mark.parametrize("sure", [True, False])
async def test_a_broker_that_does_not_answer_is_not_waited_for_and_nobody_is_refused(world, sure, monkeypatch, caplog):
    monkeypatch.setattr(module, "SURE_WITHIN", 0.05)
    await world.start()
    await until(lambda: world.queue.sure)
    world.broker.pause()
    world.queue.put(0, sure=sure)
    assert not await world.lookout.nobody(world.queue)
    assert not await world.lookout.nobody(world.queue)
    assert caplog.text.count("cannot tell whether anybody listens on q") == 1
    world.broker.resume()


async def test_a_connection_lost_while_it_is_asked_refuses_nobody(world):
    await world.start()
    await until(lambda: world.queue.sure)
    world.broker.pause()
    asking = [asyncio.create_task(world.lookout.nobody(world.queue)) for _ in range(2)]
    await asyncio.sleep(0)
    world.side._connection.abort(ConnectionError("cut"))
    assert await asyncio.gather(*asking) == [False, False]
    world.broker.resume()


async def test_cancelled_while_asking_the_others_still_have_their_answer(world):
    await world.start()
    await until(lambda: world.queue.sure)
    first, second = (asyncio.create_task(world.lookout.nobody(world.queue)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second


async def test_the_first_worker_ends_the_wait_for_one(world):
    await world.start()
    await until(lambda: world.queue.sure)
    waiting = [asyncio.create_task(world.lookout.first_worker(world.queue, 20)) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(world.queue.on_join) == 3
    world.work()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert world.queue.on_join == []
    assert await world.lookout.first_worker(world.queue, 20)  # there is one already


@pytest.mark.parametrize("cancelled", [True, False])
async def test_nobody_who_waits_for_a_worker_is_left_behind(world, cancelled):
    await world.start()
    await until(lambda: world.queue.sure)
    waiting = asyncio.create_task(world.lookout.first_worker(world.queue, 20 if cancelled else 0.01))
    await asyncio.sleep(0)
    if cancelled:
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        assert not await waiting
    assert world.queue.on_join == []


async def test_a_broker_that_does_not_tell_is_named_once_and_nobody_is_refused(world, caplog):
    world.broker.refuse(ADVISORIES, "not for you")
    with caplog.at_level(logging.WARNING):
        await world.start()
        await until(lambda: "does not tell who listens" in caplog.text)
        world.lookout._call_roll()
        await until(lambda: world.lookout._rolls[-1].finished)
    assert caplog.text.count("does not tell who listens") == 1
    assert world.queue.listeners == UNKNOWN
    world.broker.allow(ADVISORIES)
    world.lookout._call_roll()
    await until(lambda: world.presence.known)


async def test_a_broker_that_lets_us_not_listen_to_the_beacon_is_never_trusted(world):
    world.broker.refuse(f"/topic/{BEACON}", "not for you")
    await world.start()
    world.lookout._tick()
    assert await asyncio.wait_for(world.lookout.nobody(world.queue), 20) is False
    assert world.queue.listeners == UNKNOWN


async def test_other_bridges_and_foreign_messages_on_the_beacons_topic_prove_nothing(world):
    await world.side.start()
    await world.side.wait_connected()
    await world.workers.start()
    await world.workers.wait_connected()
    for text in ("", "them-1-1", "us-9-9"):
        head = f"SEND\ndestination:/topic/{BEACON}\ncorrelation-id:{text}\nreceipt:r{text}\n\n\0"
        await world.workers.request_receipt(head.encode(), f"r{text}", timeout=20)
    assert not world.lookout._same_broker


async def test_time_alone_brings_a_roll_call(world, monkeypatch):
    await world.start()
    await until(lambda: world.queue.sure)
    world.lookout._tick()  # what was new is asked once more
    await until(lambda: world.lookout._rolls[-1].finished and not world.lookout._doubt)
    rolls = world.rolls()
    world.lookout._tick()
    assert world.rolls() == rolls
    monkeypatch.setattr(module, "ROLL_EVERY", 0.0)
    world.lookout._tick()
    await until(lambda: world.rolls() == rolls + 1)


async def test_an_echo_that_was_lost_is_sent_again(world, monkeypatch):
    await world.start()
    await until(lambda: world.queue.sure)
    barrier = world.lookout._barrier()
    world.lookout._on_echo = lambda _: None
    world.lookout._echoes += 1  # what comes back is not what is waited for
    await until(lambda: world.sent("/temp-queue/presence") >= 2)
    assert not barrier.done()
    monkeypatch.setattr(module, "ROLL_TIMEOUT", 0.0)
    world.lookout._tick()
    await barrier


async def test_workers_that_flicker_do_not_keep_the_broker_busy(world):
    await world.start()
    await until(lambda: world.queue.sure)
    rolls, started = world.rolls(), asyncio.get_running_loop().time()
    for _ in range(50):
        worker = world.work()
        await until(lambda: world.queue.listeners == 1)
        world.workers.unsubscribe(worker)
        await until(lambda: world.queue.listeners == 0)
    took = asyncio.get_running_loop().time() - started
    await until(lambda: world.queue.sure)
    assert world.rolls() - rolls <= took / module.ROLL_APART + 2


async def test_it_looks_at_the_time_until_it_is_stopped(world, monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.01)
    monkeypatch.setattr(module, "ROLL_EVERY", 0.0)
    await world.start()
    world.lookout.start()
    await until(lambda: world.rolls() > 3)
    world.lookout.stop()
    await until(lambda: world.lookout._rolls[-1].finished)
    assert world.lookout._timer is None
    assert len(world.lookout._rolls) == 1
    subscriptions = [name for name in world.side._subscriptions if not name.startswith(("presence", "clock"))]
    assert len(subscriptions) == 1  # of all roll calls one is left, for the events
