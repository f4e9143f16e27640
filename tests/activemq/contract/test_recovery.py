"""A real broker that dies, hangs and comes back; heart-beats as it takes them."""

import asyncio
import uuid

import pytest

from activemq.errors import ConnectionLostError
from activemq.frames import encode
from tests.stopping import go_on, hang

pytestmark = pytest.mark.every_broker


@pytest.mark.slow
async def test_after_a_kill_the_client_is_well_again_by_itself(
    own_broker, target_of, join, inbox, send, queue: str, eventually
) -> None:
    broker = await own_broker()
    client = await join(target_of(broker))
    told: list[str] = []
    client.listen(lambda: told.append("connected"), lambda error: told.append("lost"))
    work = inbox(client, lambda p: p.consume(queue))
    await send(client, f"/queue/{queue}", b"kept", persistent="true")
    first = await work.next()
    await send(client, f"/queue/{queue}", b"not kept")
    await hang(broker.pid)  # so that what is published now is still unanswered when it dies
    receipt = uuid.uuid4().hex
    data = encode("SEND", [("destination", f"/queue/{queue}"), ("receipt", receipt)], b"on its way")
    waiting = asyncio.create_task(client.request_receipt(data, receipt, timeout=60))
    await asyncio.sleep(0)
    await broker.kill()
    with pytest.raises(ConnectionLostError):
        await waiting
    assert not client.connected
    assert not client.ack(first, 1)
    await broker.start()
    await eventually(lambda: client.connected)
    assert (client.generation, client.last_error, told) == (2, None, ["lost", "connected"])
    again = await work.next()
    assert again.body == b"kept"
    assert again.get("message-id").rpartition(",")[2] == first.get("message-id").rpartition(",")[2]
    assert client.ack(again, 2)
    await send(client, f"/queue/{queue}", b"new")
    assert (await work.next()).body == b"new"  # what was not persistent is gone


@pytest.mark.slow
async def test_a_hung_broker_is_noticed_and_found_again(own_broker, target_of, join, eventually) -> None:
    broker = await own_broker()
    client = await join(target_of(broker), heartbeat=0.5, connect_timeout=1.0)
    await hang(broker.pid)
    try:
        await eventually(lambda: not client.connected)
        assert "no sign of life" in str(client.last_error) or "did not answer" in str(client.last_error)
    finally:
        go_on(broker.pid)
    await eventually(lambda: client.connected)


async def test_heart_beats_keep_an_idle_connection_up(real, join, connect, eventually) -> None:
    client = await join(real, heartbeat=0.5)
    silent = await connect(real.port, login=real.login, passcode=real.passcode, heart_beat="500,0")
    await silent.eof()  # the broker drops who promised beats and sent none
    loop = asyncio.get_running_loop()
    until = loop.time() + 2.0
    await eventually(lambda: loop.time() > until)
    assert (client.generation, client.connected) == (1, True)


async def test_a_broker_that_is_down_is_waited_for(own_broker, target_of, eventually) -> None:
    broker = await own_broker()
    target = target_of(broker)
    await broker.stop()
    async with target.client() as client:
        await eventually(lambda: client.last_error)
        assert not client.connected
        await broker.start()
        await asyncio.wait_for(client.wait_connected(), 20)
        assert client.last_error is None
