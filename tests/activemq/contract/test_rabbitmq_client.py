"""Our client on RabbitMQ, where it shows something else than on ActiveMQ; see tests/differences.py."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from activemq.brokers.epitaph import Epitaph
from activemq.deadletters import Visit
from activemq.errors import ConnectFailedError, ConnectionLostError
from activemq.frames import Frame, encode


@pytest.fixture
def target(rabbitmq, target_of):
    return target_of(rabbitmq)


async def test_the_brokers_clock_is_not_told(target, join) -> None:
    client = await join(target)
    assert not client.clock.measured
    assert abs(client.clock.now_ms() - time.time() * 1_000) < 1_000  # it is ours


async def test_a_bad_login_is_told(target, eventually) -> None:
    async with replace(target, passcode="wrong").client() as client:
        await eventually(lambda: client.last_error)
        assert isinstance(client.last_error, ConnectFailedError)
        assert "Bad CONNECT: Access refused for user 'mqbridge'" in str(client.last_error)


async def test_a_refused_move_costs_the_connection_and_the_message_comes_again(
    target, join, inbox, send, queue: str
) -> None:
    client = await join(target)
    work = inbox(client, lambda p: p.consume(queue))
    await send(client, f"/queue/{queue}", b"original", persistent="true")
    frame = await work.next()
    copy = [("destination", target.facts.forbidden)]
    with pytest.raises(ConnectionLostError, match="its last word was: access_refused"):
        await client.move(frame, 1, lambda extra: encode("SEND", [*copy, *extra], b"copy"), "2")
    again = await work.next()
    assert (again.body, again.get("redelivered"), client.generation) == (b"original", "true", 2)
    assert client.ack(again, 2)


async def test_renew_hands_on_what_was_not_acknowledged(target, join, inbox, send, queue: str) -> None:
    one, other = await join(target), await join(target)
    mine = inbox(one, lambda p: p.consume(queue, 2))
    for body in (b"kept", b"x"):
        await send(one, f"/queue/{queue}", body)
    kept, _ = await mine.next(), await mine.next()
    one.ack(kept, 1)
    theirs = inbox(other, lambda p: p.consume(queue))
    await send(other, f"/queue/{queue}.sync")
    one.unsubscribe(mine.subscription)
    again = await theirs.next()
    assert (again.body, again.get("redelivered"), one.generation) == (b"x", "true", 1)
    other.unsubscribe(theirs.subscription)
    one.renew(mine.subscription)  # and the same id is good again
    assert one.ack(await mine.next(), 1)
    await send(one, f"/queue/{queue}", b"last")
    assert (await mine.next()).body == b"last"
    assert one.generation == 1


@pytest.mark.slow
async def test_after_a_kill_the_client_is_well_again_by_itself(
    own_broker, target_of, join, inbox, send, queue: str, eventually
) -> None:
    broker = await own_broker(kind="rabbitmq")
    client = await join(target_of(broker))
    work = inbox(client, lambda p: p.consume(queue))
    await send(client, f"/queue/{queue}", b"kept", persistent="true")
    first = await work.next()
    await send(client, f"/queue/{queue}", b"not kept")
    await broker.kill()
    await eventually(lambda: not client.connected)
    assert not client.ack(first, 1)
    await broker.start()
    async with asyncio.timeout(60):
        await client.wait_connected()
    again = await work.next()
    assert (again.body, again.get("redelivered"), client.generation) == (b"kept", "true", 2)
    assert client.ack(again, 2)
    await send(client, f"/queue/{queue}", b"new")
    assert (await work.next()).body == b"new"  # what was not persistent is gone


async def test_a_refused_subscription_costs_one_connection_and_the_others_go_on(
    target, join, inbox, send, queue: str, eventually
) -> None:
    client = await join(target)
    work = inbox(client, lambda p: p.consume(queue))
    subscription = client.subscribe(lambda _: {"destination": target.facts.forbidden}, lambda _: None)
    await eventually(lambda: client.connected and client.generation == 2)
    assert "access_refused" in str(subscription.error)
    await send(client, f"/queue/{queue}", b"x")
    assert (await work.next()).body == b"x"
    assert client.generation == 2


async def test_parked_messages_are_looked_at_and_one_is_taken_by_its_name(target, join, send, queue: str) -> None:
    client, parked = await join(target), f"{queue}.poison"
    for number in range(4):
        await send(client, f"/queue/{parked}", b"%d" % number, persistent="true", correlation_id=f"c{number}")
    looks = []
    for _ in range(2):
        async with Visit(target.client()) as visit:
            seen: list[Frame] = []
            assert await visit.look(parked, lambda frame, seen=seen: seen.append(frame))
            assert [frame.body for frame in seen] == [b"0", b"1", b"2", b"3"]
            assert {frame.get("redelivered") for frame in seen} == {"true" if looks else "false"}
            looks.append([visit.profile.letter_name(frame) for frame in seen])
    assert looks[0] == looks[1]
    assert len(set(looks[0])) == 4
    async with Visit(target.client()) as visit:
        taken = await visit.take(parked, looks[0][2])
        assert taken is not None
        assert taken.body == b"2"
        await visit.remove(taken)
    async with Visit(target.client()) as visit:
        assert await visit.take(parked, looks[0][2]) is None
    async with Visit(target.client()) as visit:
        left: list[Frame] = []
        await visit.look(parked, left.append)
    assert [frame.body for frame in left] == [b"0", b"1", b"3"]


async def test_an_epitaph_says_where_a_dead_letter_was_and_why(target, join, inbox, send, queue: str) -> None:
    client = await join(target)
    dead = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": f"{queue}.dead"}
    await send(client, f"/queue/{queue}.dead", b"first")  # so that it is there
    await send(client, f"/queue/{queue}", b"x", expiration=0, **dead)
    letters = inbox(client, lambda p: p.consume(f"{queue}.dead", 2))
    await letters.next()
    letter = await letters.next()
    assert client.profile.epitaph(letter) == Epitaph(queue, "expired")
    assert client.profile.queue_of(letter.get("destination")) == f"{queue}.dead"
