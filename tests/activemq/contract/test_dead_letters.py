"""A visit to dead letters, on a real broker: what Classic does with a browser, and what a visit makes of it."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from activemq import Frame
from activemq.deadletters import HeldError, Visit
from activemq.errors import ActiveMQError, ConnectionLostError, ServerError
from activemq.frames import Limits, encode
from tests.consumers.harness import PATIENCE, new_client, proxy_to, until


@pytest.fixture
def queue():
    return f"test.{secrets.token_hex(6)}.poison"


@pytest.fixture
async def sender(broker):
    async with new_client(broker) as client:
        await client.wait_connected()
        yield client


async def send(sender, queue, *bodies, **headers):
    for number, body in enumerate(bodies):
        receipt = f"r-{secrets.token_hex(6)}-{number}"
        fields = [("destination", f"/queue/{queue}"), ("persistent", "true"), ("receipt", receipt)]
        fields += [*headers.items(), ("content-length", str(len(body)))]
        await sender.request_receipt(encode("SEND", fields, body), receipt, timeout=PATIENCE)


def visit(broker, port=None, max_body=1 << 20):
    return Visit(new_client(broker, port, limits=Limits(max_body=max_body)))


async def seen(visiting, queue, **options):
    frames: list[Frame] = []
    whole = await visiting.look(queue, lambda frame: frames.append(frame) is not None, **options)
    return whole, frames


async def names(broker, queue):
    async with visit(broker) as visiting:
        return [visiting.profile.letter_name(frame) for frame in (await seen(visiting, queue))[1]]


# -- looking


@pytest.mark.parametrize("number", [0, 1, 15, 16, 17, 40])
async def test_a_look_shows_all_in_their_order_and_takes_nothing(broker, sender, queue, number):
    bodies = [b"%d" % n for n in range(number)]
    await send(sender, queue, *bodies)
    for _ in range(2):
        async with visit(broker) as visiting:
            whole, frames = await seen(visiting, queue)
            assert whole is True
            assert [frame.body for frame in frames] == bodies
            assert all(frame.get("redelivered") is None for frame in frames)


@pytest.mark.parametrize(("number", "shown"), [(399, 399), (400, 400), (401, 400)])
async def test_classic_shows_the_first_four_hundred(broker, sender, queue, number, shown):
    await send(sender, queue, *[b"x"] * number)
    async with visit(broker) as visiting:
        whole, frames = await seen(visiting, queue)
        assert (whole, len(frames)) == (True, shown)
        assert visiting.profile.shows_at_most == 400


async def test_a_look_ends_when_enough_was_seen(broker, sender, queue):
    await send(sender, queue, *[b"x"] * 50)
    count = 0

    def third(_):
        nonlocal count
        count += 1
        return count == 3

    async with visit(broker) as visiting:
        assert await visiting.look(queue, third) is False
        assert count == 3
        assert len((await seen(visiting, queue))[1]) == 50  # the same visit can look again


async def test_no_more_is_on_its_way_than_the_prefetch(broker, sender, queue):
    """So that a look at large bodies needs little memory: the broker waits for the ACK of each."""
    await send(sender, queue, *[b"x"] * 50)
    async with new_client(broker) as client:
        await client.wait_connected()
        came: list[Frame] = []
        client.subscribe(lambda profile: profile.look(queue, 16), came.append)
        await until(lambda: len(came) == 16)
        await send(sender, queue, b"a round trip")
        assert len(came) == 16


async def test_bodies_over_the_limit_are_not_kept(broker, sender, queue):
    await send(sender, queue, b"x" * 100, b"y" * 101)
    async with visit(broker, max_body=100) as visiting:
        _, frames = await seen(visiting, queue)
        assert [(len(frame.body), frame.oversize) for frame in frames] == [(100, 0), (0, 101)]


async def test_nothing_that_a_sender_writes_is_the_end_of_a_look(broker, sender, queue):
    await send(sender, queue, b"1", browser="end", **{"message-id": "0"})
    await send(sender, queue, b"2")
    async with visit(broker) as visiting:
        assert [frame.body for frame in (await seen(visiting, queue))[1]] == [b"1", b"2"]


async def test_what_a_worker_holds_is_seen(broker, sender, queue):
    await send(sender, queue, b"1", b"2")
    held: list[Frame] = []
    sender.subscribe(lambda profile: profile.consume(queue), held.append)
    await until(lambda: held)
    assert len(await names(broker, queue)) == 2


async def test_a_look_that_takes_too_long_is_not_the_whole(broker, sender, queue):
    async with proxy_to(broker) as proxy, visit(broker, proxy.port) as visiting:
        proxy.flowing.clear()
        whole, frames = await seen(visiting, queue, timeout=0.1)
        assert (whole, frames) == (False, [])
        proxy.flowing.set()


async def test_a_connection_that_is_lost_ends_a_look(broker, sender, queue):
    await send(sender, queue, *[b"x"] * 50)
    async with proxy_to(broker) as proxy, visit(broker, proxy.port) as visiting:
        with pytest.raises(ConnectionLostError):
            await visiting.look(queue, lambda _: proxy.cut() is not None)
        with pytest.raises(ConnectionLostError):  # and what the next connection brings is not taken for ours
            await seen(visiting, queue)


async def test_a_connection_that_is_lost_ends_the_wait_for_a_message(broker, sender, queue):
    await send(sender, queue, b"1")
    (name,) = await names(broker, queue)
    async with visit(broker) as holder, proxy_to(broker) as proxy, visit(broker, proxy.port) as visiting:
        assert await holder.take(queue, name) is not None
        task = asyncio.create_task(visiting.take(queue, name, timeout=PATIENCE))
        await until(lambda: [f for f in proxy.sent("SUBSCRIBE") if f.get("selector") and not f.get("browser")])
        proxy.cut()
        with pytest.raises(ConnectionLostError):
            await task


# -- taking


async def test_one_message_is_taken_and_removed_and_the_others_stay(broker, sender, queue):
    await send(sender, queue, b"1", b"2", b"3")
    _, second, _ = all_names = await names(broker, queue)
    async with visit(broker) as visiting:
        frame = await visiting.take(queue, second)
        assert frame is not None
        assert frame.body == b"2"
        await visiting.remove(frame)
    assert await names(broker, queue) == [all_names[0], all_names[2]]


async def test_what_was_taken_and_not_removed_is_back_in_its_place(broker, sender, queue):
    await send(sender, queue, b"1", b"2", b"3")
    before = await names(broker, queue)
    async with visit(broker) as visiting:
        assert await visiting.take(queue, before[0]) is not None
    assert await names(broker, queue) == before


@pytest.mark.parametrize("name", ["ID:none", "", "'", "x' OR 'a'='a", "\\", "a:b\r\nc", "%", "_"])
async def test_a_name_that_is_nobodys_takes_nothing(broker, sender, queue, name):
    await send(sender, queue, b"1")
    async with visit(broker) as visiting:
        assert await visiting.take(queue, name) is None
    assert len(await names(broker, queue)) == 1


async def test_a_message_that_somebody_holds_is_not_taken(broker, sender, queue):
    await send(sender, queue, b"1")
    (name,) = await names(broker, queue)
    async with visit(broker) as first, visit(broker) as second:
        assert await first.take(queue, name) is not None
        with pytest.raises(HeldError):
            await second.take(queue, name, timeout=0.2)


async def test_one_far_behind_the_head_is_taken(broker, sender, queue):
    await send(sender, queue, *[b"x"] * 300)
    last = (await names(broker, queue))[-1]
    async with visit(broker) as visiting:
        frame = await visiting.take(queue, last)
        assert frame is not None
        await visiting.remove(frame)
    assert len(await names(broker, queue)) == 299


async def test_a_removal_on_another_connection_than_its_own_is_refused(broker, sender, queue):
    await send(sender, queue, b"1")
    (name,) = await names(broker, queue)
    async with proxy_to(broker) as proxy, visit(broker, proxy.port) as visiting:
        frame = await visiting.take(queue, name)
        proxy.cut()
        await until(lambda: visiting.client.generation > 1 and visiting.client.connected)
        with pytest.raises(ConnectionLostError):
            await visiting.remove(frame)
    assert await names(broker, queue) == [name]


async def test_what_the_login_may_not_do_is_said(own_broker, queue):
    from activemq import Client, Credentials, Server
    from activemq.embedded import Login, Role

    limited = Login("limited", "secret-of-limited", frozenset({Role.WORKER}))
    broker = await own_broker(other_logins=[limited], worker_queues=["theirs.>"])
    client = Client([Server("127.0.0.1", broker.stomp_port)], Credentials("limited", limited.passcode))
    async with Visit(client) as visiting:
        with pytest.raises(ServerError):
            await seen(visiting, queue)


async def test_no_broker_is_said_in_bounded_time(broker, monkeypatch):
    monkeypatch.setattr("activemq.deadletters.CONNECT_TIMEOUT", 0.1)
    with pytest.raises(ActiveMQError, match=r"127\.0\.0\.1:1"):
        async with visit(broker, 1):
            pass


STEPS = [
    ("CONNECT", 1),
    ("SUBSCRIBE", 1),
    ("SEND", 1),
    ("MESSAGE", 1),
    ("SUBSCRIBE", 2),
    ("MESSAGE", 2),
    ("SUBSCRIBE", 3),
]


@pytest.mark.parametrize(("command", "number"), STEPS)
async def test_a_visit_that_is_cancelled_at_any_step_holds_nothing_back(broker, sender, queue, command, number):
    await send(sender, queue, b"1")
    (name,) = await names(broker, queue)
    async with proxy_to(broker) as proxy:

        async def work():
            async with visit(broker, proxy.port) as visiting:
                frame = await visiting.take(queue, name)
                assert frame is not None
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await until(lambda: len([f for _, f in proxy.frames if f.command == command]) >= number)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: all(writer.transport.is_closing() for writer in proxy._writers))
    async with visit(broker) as visiting:
        frame = await visiting.take(queue, name, timeout=PATIENCE)
        assert frame is not None
