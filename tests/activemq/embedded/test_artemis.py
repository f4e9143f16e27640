"""The embedded ActiveMQ Artemis: what its configuration promises, seen on the wire."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from activemq import Client, Credentials, Server
from activemq.embedded import BrokerLimits, Login, Role
from activemq.errors import PortInUseError, ServerError
from activemq.frames import Frame, encode

MIB = 1024 * 1024
PATIENCE = 20.0  # seconds


@pytest.fixture
def queue() -> str:
    return f"test.{secrets.token_hex(8)}"


class Peer:
    """A client of ours: STOMP 1.1, in which a refusal leaves the connection open."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()

    async def send(self, destination: str, body: bytes = b"", **headers: object) -> None:
        receipt = secrets.token_hex(8)
        named = [(name.replace("_", "-"), str(value)) for name, value in headers.items()]
        data = encode("SEND", [("destination", destination), ("receipt", receipt), *named], body)
        await self.client.request_receipt(data, receipt, timeout=PATIENCE)

    async def subscribe(self, destination: str, **headers: str) -> bool:
        """Return whether it may."""
        wanted = {"destination": destination, "ack": "client-individual", **headers}
        subscription = self.client.subscribe(lambda _: wanted, self._frames.put_nowait)
        await self.send("/queue/jobs")  # its receipt comes behind the answer to the subscription
        refused = subscription.error is not None
        if refused:
            self.client.unsubscribe(subscription)
        return not refused

    async def may_send(self, destination: str, body: bytes = b"", **headers: object) -> bool:
        try:
            await self.send(destination, body, **headers)
        except ServerError:
            return False
        return True

    async def next(self) -> Frame:
        return await asyncio.wait_for(self._frames.get(), PATIENCE)


@asynccontextmanager
async def peer_of(broker: Any, login: str | None = None, passcode: str | None = None):
    who = Credentials(login or broker.login, passcode or broker.passcode)
    async with Client([Server("127.0.0.1", broker.stomp_port)], who) as client:
        await asyncio.wait_for(client.wait_connected(), PATIENCE)
        yield Peer(client)


@pytest.fixture
async def artemis(brokers):
    return brokers.get("artemis")


@pytest.fixture
async def peer(artemis):
    async with peer_of(artemis) as peer:
        yield peer


# -- users and rights

# Destination, then who may read it and who may write it: b(ridge), w(orker), a(dmin), m(ain), which is both.
RIGHTS = [
    ("/queue/jobs", "bwam", "bwam"),
    ("/queue/jobs.poison", "bam", "bwam"),
    ("/queue/images.small", "bwam", "bwam"),
    ("/queue/other", "bam", "bam"),
    ("/queue/bridge.replies.x", "bam", "bwam"),
    ("/queue/DLQ", "bam", "bam"),
    ("/topic/bridge.cancel", "bwam", "bam"),
    ("/topic/bridge.wake.x", "bam", "bam"),
    ("/topic/bridge.reply.x", "bam", "bwam"),
    ("/topic/bridge.echo.x", "bwam", "bwam"),
    ("/topic/activemq.notifications", "bam", ""),
    ("/topic/activemq.other", "", ""),
]


async def test_each_role_may_do_what_it_needs_and_no_more(own_broker) -> None:
    logins = [Login(role.name.lower(), f"{role.name}-passcode", frozenset({role})) for role in Role]
    broker = await own_broker(kind="artemis", login="main", other_logins=logins, worker_queues=("jobs", "images.>"))
    async with AsyncExitStack() as stack:
        peers = {one.name: await stack.enter_async_context(peer_of(broker, one.name, one.passcode)) for one in logins}
        peers["main"] = await stack.enter_async_context(peer_of(broker))
        seen = []
        for destination, _, _ in RIGHTS:
            readers = {name[0] for name, peer in peers.items() if await peer.subscribe(destination)}
            writers = {name[0] for name, peer in peers.items() if await peer.may_send(destination)}
            seen.append((destination, readers, writers))
        assert {peer.client.generation for peer in peers.values()} == {1}, "no refusal has cost a connection"
    assert seen == [(destination, set(readers), set(writers)) for destination, readers, writers in RIGHTS]


@pytest.mark.parametrize(
    ("operation", "allowed"),
    [("listConsumers", True), ("listNetworkTopology", True), ("getVersion", False), ("closeConnectionsForUser", False)],
)
async def test_a_bridge_may_ask_who_listens_and_nothing_else(artemis, operation: str, allowed: bool) -> None:
    async with peer_of(artemis) as peer:
        reply_to = peer.client.profile.reply_to("answers")
        await peer.subscribe(f"/topic/{reply_to}")
        arguments = {"listConsumers": b'["", 1, 1]', "closeConnectionsForUser": b'["nobody"]'}.get(operation, b"[]")
        headers = {"_AMQ_ResourceName": "broker", "_AMQ_OperationName": operation, "reply-to": reply_to}
        peer.client.send(encode("SEND", [("destination", "activemq.management"), *headers.items()], arguments))
        answer = await peer.next()
        assert (answer.get("_AMQ_OperationSucceeded") == "true") == allowed


async def test_a_login_and_a_passcode_may_hold_what_means_something_in_its_files(own_broker) -> None:
    odd = Login("w=: #!ö 😀", "a=b:c #!'\"<&> ü😀", frozenset({Role.WORKER}))
    broker = await own_broker(kind="artemis", other_logins=[odd])
    async with peer_of(broker, odd.name, odd.passcode) as peer:
        assert await peer.may_send("/queue/jobs")
    for name in ("users", "roles"):
        file = broker.data_dir / "etc" / f"{name}.properties"
        assert file.stat().st_mode & 0o777 == 0o600
    assert broker.passcode not in broker.log_path.read_text()


# -- queues


async def test_a_higher_priority_goes_first(peer, queue: str) -> None:
    for priority in (1, 9, 5):
        await peer.send(f"/queue/{queue}", str(priority).encode(), priority=priority)
    await peer.subscribe(f"/queue/{queue}")
    assert [(await peer.next()).body for _ in range(3)] == [b"9", b"5", b"1"]


async def test_what_a_worker_without_our_rules_loses_ten_times_is_a_dead_letter(artemis, peer, queue: str) -> None:
    await peer.send(f"/queue/{queue}", b"deadly", persistent="true")
    for _ in range(10):
        async with peer_of(artemis) as victim:
            await victim.subscribe(f"/queue/{queue}")
            assert (await victim.next()).body == b"deadly"
            victim.client._supervising.cancel()
            victim.client._connection.abort(ConnectionError("killed"))
    await peer.subscribe("/queue/DLQ", selector=f"_AMQ_ORIG_ADDRESS = '{queue}'")
    assert (await peer.next()).body == b"deadly"


async def test_a_frame_of_any_size_passes(peer, queue: str) -> None:
    """Its STOMP has no limit as Classic's `maxFrameSize`; our client's own is what counts."""
    body = b"x" * (8 * MIB)
    await peer.send(f"/queue/{queue}", body, content_length=len(body))
    await peer.subscribe(f"/queue/{queue}")
    frame = await peer.next()
    assert (frame.oversize or len(frame.body)) == len(body)


async def test_what_has_expired_is_gone(peer, queue: str) -> None:
    await peer.send(f"/queue/{queue}", b"late", persistent="true", expires=peer.client.clock.now_ms() - 1_000)
    await peer.send(f"/queue/{queue}", b"in time", persistent="true")
    await peer.subscribe(f"/queue/{queue}")
    assert (await peer.next()).body == b"in time"
    assert peer._frames.empty()


@pytest.mark.parametrize("persistent", ["true", "false"])
async def test_a_full_broker_refuses_and_goes_on_to_deliver(own_broker, queue: str, persistent: str) -> None:
    """More than what fits into memory goes to the disk; more than that is refused, and nothing else is."""
    limits = BrokerLimits(memory=2 * MIB, store=8 * MIB)
    broker = await own_broker(kind="artemis", limits=limits)
    body = b"x" * (64 * 1024)
    taken = 0
    async with peer_of(broker) as peer:
        while await peer.may_send(f"/queue/{queue}", body, content_length=len(body), persistent=persistent):
            taken += 1
            assert taken < 1_000
        assert taken > 4 * MIB // len(body)  # not only what fits into memory
        assert await peer.may_send("/queue/another")
        await peer.subscribe(f"/queue/{queue}")
        assert (await peer.next()).body == body
        assert peer.client.generation == 1


# -- the process


@pytest.mark.parametrize("connector", ["stomp_port", "openwire_port"])
async def test_a_port_in_use_is_told_by_its_number(own_broker, artemis, connector: str, monkeypatch) -> None:
    monkeypatch.setattr("activemq.embedded.launcher._require_free", lambda _port: None)  # as if it had been free
    taken = getattr(artemis, connector)
    with pytest.raises(PortInUseError) as told:
        await own_broker(kind="artemis", **{connector: taken})
    assert told.value.port == taken


async def test_it_comes_back_with_its_messages(own_broker, queue: str) -> None:
    broker = await own_broker(kind="artemis")
    async with peer_of(broker) as peer:
        await peer.send(f"/queue/{queue}", b"kept", persistent="true")
    await broker.kill()
    await broker.start()
    async with peer_of(broker) as peer:
        await peer.subscribe(f"/queue/{queue}")
        assert (await peer.next()).body == b"kept"
