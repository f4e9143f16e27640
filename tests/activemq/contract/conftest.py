"""The brokers that the contract holds for: a real ActiveMQ Classic, and FakeBroker, which must do the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from activemq import Client, Credentials, Server
from activemq.embedded import EmbeddedBroker
from activemq.frames import Frame, encode
from activemq.testing import FakeBroker

PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Target:
    """A broker to test against. ``forbidden`` is a destination that this login may not use."""

    url: str
    login: str
    passcode: str
    forbidden: str = "/topic/elsewhere"

    @property
    def host(self) -> str:
        return Server.parse(self.url).host

    @property
    def port(self) -> int:
        return Server.parse(self.url).port

    def client(self, **options: object) -> Client:
        return Client([Server.parse(self.url)], Credentials(self.login, self.passcode), **options)


@pytest.fixture(params=["FakeBroker", pytest.param("ActiveMQ", marks=pytest.mark.broker)])
async def target(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    """Each broker in turn."""
    if request.param == "ActiveMQ":
        yield _target_of(request.getfixturevalue("broker"))
        return
    async with FakeBroker("us", "pass") as fake:
        fake.refuse("/topic/elsewhere", "User us is not authorized to write to: topic://elsewhere")
        yield Target(fake.url, "us", "pass")


def _target_of(broker: EmbeddedBroker) -> Target:
    return Target(broker.stomp_url, broker.login, broker.passcode)


@pytest.fixture
def target_of() -> Callable[[EmbeddedBroker], Target]:
    """A broker of the test's own as a target."""
    return _target_of


@pytest.fixture
def real(broker: EmbeddedBroker) -> Target:
    """The real one, for what the fake one does not claim to do."""
    return _target_of(broker)


@pytest.fixture
async def join() -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """``await join(target)`` gives a client that is connected."""
    clients: list[Client] = []

    async def join(target: Target, **options: object) -> Client:
        client = target.client(**options)
        clients.append(client)
        await client.start()
        await asyncio.wait_for(client.wait_connected(), PATIENCE)
        return client

    yield join
    for client in clients:
        await client.stop()


@pytest.fixture
def queue() -> str:
    """A queue that no other test uses."""
    return f"contract.{uuid.uuid4().hex}"


class Inbox:
    """A subscription whose messages a test takes one by one."""

    def __init__(self, client: Client, headers: Callable[..., object]) -> None:
        self.client = client
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.subscription = client.subscribe(headers, self._frames.put_nowait)

    async def next(self) -> Frame:
        return await asyncio.wait_for(self._frames.get(), PATIENCE)

    @property
    def waiting(self) -> int:
        return self._frames.qsize()


@pytest.fixture
def inbox() -> type[Inbox]:
    """``inbox(client, lambda profile: profile.consume(queue))``."""
    return Inbox


@pytest.fixture
def send() -> Callable[..., Awaitable[None]]:
    """``await send(client, destination, body, header="value")``: SEND, and wait for its receipt."""

    async def send(client: Client, destination: str, body: bytes = b"", /, **headers: object) -> None:
        receipt = uuid.uuid4().hex
        named = [(name.replace("_", "-"), str(value)) for name, value in headers.items()]
        data = encode("SEND", [("destination", destination), ("receipt", receipt), *named], body)
        await client.request_receipt(data, receipt, timeout=PATIENCE)

    return send
