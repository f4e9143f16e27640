"""Who listens, as the broker tells it: what the bridge's presence rests on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from activemq import Client
from activemq.brokers import Attendance
from activemq.frames import encode

BEACON = "bridge.presence"


class Watch:
    """A connection that is told who listens, and can say that it has heard all there is to hear."""

    def __init__(self, client: Client, *queues: str) -> None:
        self.client = client
        self.heard: list[Attendance] = []
        self._echo = asyncio.Event()
        client.subscribe(lambda p: {"destination": p.topic(BEACON), "ack": "auto"}, lambda _: None)
        client.subscribe(lambda p: p.replies("echo"), lambda _: self._echo.set())
        self.queues = queues

    def call_roll(self) -> None:
        def on_message(frame):
            attendance = self.client.profile.attendance(frame)
            # FakeBroker has no selectors, and a real broker may be shared: only ours is looked at.
            if attendance is not None and (attendance.is_topic or any(map(attendance.covers, self.queues))):
                self.heard.append(attendance)

        for headers in self.client.profile.roll_call(self.queues, BEACON):
            self.client.subscribe(lambda _, headers=headers: headers, on_message)

    async def all_heard(self) -> list[Attendance]:
        """What was said so far about the queues, and forget it. What the broker said before has arrived before."""
        self._echo.clear()
        self.client.send(encode("SEND", [("destination", self.client.profile.reply_to("echo"))]))
        await asyncio.wait_for(self._echo.wait(), 20)
        heard, self.heard = self.heard, []
        return [attendance for attendance in heard if not attendance.is_topic]


@pytest.fixture
async def watch(target, join, queue: str) -> Watch:
    return Watch(await join(target), queue)


async def test_of_nobody_nothing_is_told_and_the_beacon_is(watch: Watch) -> None:
    watch.call_roll()
    beacons = watch.heard
    assert await watch.all_heard() == []
    assert any(attendance.covers(BEACON) and attendance.is_topic for attendance in beacons)


async def test_each_who_is_there_is_told_of(target, join, watch: Watch, queue: str) -> None:
    worker: Client = await join(target)
    for _ in range(3):
        worker.subscribe(lambda p: p.consume(queue), lambda _: None)
    await worker.request_receipt(encode("BEGIN", [("transaction", "t"), ("receipt", "r")]), "r", timeout=20)
    watch.call_roll()
    assert await watch.all_heard() == [Attendance((queue,), 3)] * 3


async def test_who_is_confirmed_has_been_told_of(target, join, watch: Watch, queue: str) -> None:
    watch.call_roll()
    assert await watch.all_heard() == []
    for number in range(1, 6):
        worker: Client = target.client()
        worker.subscribe(lambda p: p.consume(queue), lambda _: None)
        await worker.start()
        await asyncio.wait_for(worker.wait_connected(), 20)
        assert await watch.all_heard() == [Attendance((queue,), 1)], number
        await worker.stop()  # its DISCONNECT is confirmed before its consumers are gone
        while not (heard := await watch.all_heard()):
            pass
        assert heard == [Attendance((queue,), 0)]


def unsubscribe(client: Client, subscription) -> None:
    client.unsubscribe(subscription)


def reset(client: Client, _subscription) -> None:
    client._connection.abort(ConnectionError("cut"))


@pytest.mark.parametrize("leave", [unsubscribe, reset])
async def test_who_leaves_is_told_of(target, join, watch: Watch, queue: str, leave: Callable[..., None]) -> None:
    worker: Client = await join(target, backoff=None)
    subscription = worker.subscribe(lambda p: p.consume(queue), lambda _: None)
    await worker.request_receipt(encode("BEGIN", [("transaction", "t"), ("receipt", "r")]), "r", timeout=20)
    watch.call_roll()
    assert await watch.all_heard() == [Attendance((queue,), 1)]
    leave(worker, subscription)
    while not (heard := await watch.all_heard()):
        pass
    assert heard[0] == Attendance((queue,), 0)
