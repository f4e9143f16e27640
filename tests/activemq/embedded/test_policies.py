"""What the configuration promises, seen on the wire."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest

from activemq.embedded import BrokerLimits, Login, Role

MIB = 1024 * 1024


@pytest.fixture
def queue() -> str:
    return f"test.{secrets.token_hex(8)}"


async def test_the_next_message_goes_to_the_worker_that_is_idle(broker, connect, queue):
    """Prefetch 1 by the broker's own policy, for workers that do not ask for it."""
    workers = [(await connect(broker))[0] for _ in range(2)]
    for worker in workers:
        worker.send("SUBSCRIBE", destination=f"/queue/{queue}", id="1", ack="client-individual")
    caller, _ = await connect(broker)
    for body in (b"one", b"two"):
        await caller.ask("SEND", body, destination=f"/queue/{queue}")
    got = await asyncio.gather(*(worker.receive() for worker in workers))
    assert {frame.body for frame in got} == {b"one", b"two"}


async def test_a_higher_priority_goes_first(broker, connect, queue):
    peer, _ = await connect(broker)
    for priority in (1, 9, 5):
        await peer.ask("SEND", str(priority).encode(), destination=f"/queue/{queue}", priority=priority)
    peer.send("SUBSCRIBE", destination=f"/queue/{queue}", id="1")
    assert [(await peer.receive()).body for _ in range(3)] == [b"9", b"5", b"1"]


@pytest.mark.parametrize("persistent", ["true", "false"])
async def test_a_refused_message_is_kept_as_a_dead_letter(broker, connect, queue, persistent):
    peer, _ = await connect(broker)
    await peer.ask("SEND", b"poison", destination=f"/queue/{queue}", persistent=persistent)
    peer.send("SUBSCRIBE", destination=f"/queue/{queue}", id="1", ack="client-individual")
    taken = await peer.receive()
    peer.send("NACK", id=taken.headers["ack"].replace("\\c", ":"))
    peer.send("SUBSCRIBE", destination=f"/queue/DLQ.{queue}", id="2")
    dead = await peer.receive()
    assert (dead.headers["subscription"], dead.body) == ("2", b"poison")


async def test_what_workers_lose_again_and_again_is_never_a_dead_letter(broker, connect, queue):
    """Also not of one that kills each worker: ours count for themselves."""
    sender, _ = await connect(broker)
    sender.send("SEND", b"deadly", destination=f"/queue/{queue}", content_length=6, persistent="true", receipt="1")
    assert (await sender.receive()).command == "RECEIPT"
    for attempt in range(12):
        victim, _ = await connect(broker)
        victim.send("SUBSCRIBE", destination=f"/queue/{queue}", id="1", ack="client-individual")
        frame = await victim.receive()
        assert (frame.body, frame.headers.get("redelivered")) == (b"deadly", "true" if attempt else None)
        await victim.close()


async def test_an_expired_message_is_no_dead_letter(broker, connect, queue):
    peer, _ = await connect(broker)
    expired = f"/topic/ActiveMQ.Advisory.Expired.Queue.{queue}"
    await peer.ask("SUBSCRIBE", destination=expired, id="1", transformation="none")
    soon = int(time.time() * 1000) + 300
    await peer.ask("SEND", b"late", destination=f"/queue/{queue}", persistent="true", expires=soon)
    assert (await peer.receive(30)).headers["subscription"] == "1", "the broker has told of its expiry"
    await peer.ask("SEND", b"marker", destination=f"/queue/DLQ.{queue}")
    peer.send("SUBSCRIBE", destination=f"/queue/DLQ.{queue}", id="2")
    assert (await peer.receive()).body == b"marker"


async def test_a_frame_of_nearly_4_mib_passes(broker, connect, queue):
    peer, _ = await connect(broker)
    body = b"x" * (4 * MIB - 1024)
    peer.send("SUBSCRIBE", destination=f"/queue/{queue}", id="1")
    peer.send("SEND", body, destination=f"/queue/{queue}", content_length=len(body))
    assert (await peer.receive()).body == body


async def test_a_body_over_4_mib_is_refused(broker, connect, queue):
    peer, _ = await connect(broker)
    body = b"x" * (4 * MIB + 1)
    peer.send("SEND", body, destination=f"/queue/{queue}", content_length=len(body), receipt="1")
    try:
        answer = (await peer.receive()).command
    except (asyncio.IncompleteReadError, ConnectionError):
        answer = "closed"
    assert answer in {"ERROR", "closed"}


@pytest.mark.parametrize("persistent", ["true", "false"])
async def test_a_full_broker_refuses_instead_of_stalling_the_connection(own_broker, connect, queue, persistent):
    broker = await own_broker(limits=BrokerLimits(memory=2 * MIB, temp=16 * MIB, store=16 * MIB))
    peer, _ = await connect(broker)
    body = b"x" * (MIB // 2)
    options = {"destination": f"/queue/{queue}", "content_length": len(body), "persistent": persistent}
    for _ in range(200):
        answer = await peer.ask("SEND", body, **options)
        if answer.command == "ERROR":
            break
    assert answer.command == "ERROR"
    peer.send("SUBSCRIBE", destination=f"/queue/{queue}", id="1", ack="auto")
    assert (await peer.receive()).body == body


@pytest.fixture
async def roles(own_broker, connect):
    """A connection for each role by its name, and ``main`` for the login that has the bridge's and the workers'."""
    logins = [Login(role.name.lower(), f"{role.name}-passcode", frozenset({role})) for role in Role]
    broker = await own_broker(login="main", other_logins=logins, worker_queues=("jobs", "images.>"))
    peers = {one.name: (await connect(broker, one.name, one.passcode))[0] for one in logins}
    peers["main"] = (await connect(broker))[0]
    return peers


async def may(peer, command: str, destination: str) -> bool:
    options = {"id": secrets.token_hex(4), "transformation": "none"} if command == "SUBSCRIBE" else {}
    return (await peer.ask(command, destination=destination, **options)).command == "RECEIPT"


# destination, then who may read it and who may write it: b(ridge), w(orker), a(dmin), m(ain)
RIGHTS = [
    ("/queue/jobs", "bwam", "bwam"),
    ("/queue/jobs.poison", "bam", "bwam"),
    ("/queue/images.small", "bwam", "bwam"),
    ("/queue/other", "bam", "bam"),
    ("/queue/bridge.replies.x", "bam", "bwam"),
    ("/queue/DLQ.jobs", "bam", "bam"),
    ("/topic/bridge.cancel", "bwam", "bam"),
    ("/topic/bridge.wake.x", "bam", "bam"),
    ("/topic/other", "a", "a"),
    ("/topic/ActiveMQ.Advisory.Consumer.Queue.jobs", "bam", "a"),
]


async def test_each_role_may_do_what_it_needs_and_no_more(roles):
    seen = []
    for destination, _, _ in RIGHTS:
        readers = [name[0] for name in roles if await may(roles[name], "SUBSCRIBE", destination)]
        writers = [name[0] for name in roles if await may(roles[name], "SEND", destination)]
        seen.append((destination, set(readers), set(writers)))
    assert seen == [(destination, set(readers), set(writers)) for destination, readers, writers in RIGHTS]


async def test_a_worker_answers_into_the_bridges_temporary_queue_and_the_bridge_hears_of_workers(roles):
    bridge, worker = roles["bridge"], roles["worker"]
    advisory = "/topic/ActiveMQ.Advisory.Consumer.Queue.jobs"
    await bridge.ask("SUBSCRIBE", destination=advisory, id="workers", transformation="none")
    await bridge.ask("SUBSCRIBE", destination="/temp-queue/replies", id="replies")
    await worker.ask("SUBSCRIBE", destination="/queue/jobs", id="1", ack="client-individual")
    heard = await bridge.receive()
    assert (heard.headers["subscription"], heard.headers["consumerCount"]) == ("workers", "1")
    bridge.send("SEND", b"job", destination="/queue/jobs", reply_to="/temp-queue/replies")
    job = await worker.receive()
    reply_to = job.headers["reply-to"].replace("\\c", ":")
    assert (await worker.ask("SEND", b"reply", destination=reply_to)).command == "RECEIPT"
    assert (await bridge.receive()).body == b"reply"
