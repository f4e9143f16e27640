"""The brokers that the contract holds for: a real ActiveMQ Classic, and FakeBroker, which must do the same."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from activemq import Client, Credentials, Server
from activemq.brokers import PROFILES, Profile
from activemq.frames import Frame, encode
from activemq.testing import FakeBroker
from tests.brokers import RealBroker
from tests.conftest import kinds_of

PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Facts:
    """What differs between brokers and is no fault of theirs; docs/brokers.md tells users of it.

    ``forbidden`` is a destination that our login may not use, ``refusal`` is how the broker says so.
    ``temporary_queues``: a reply destination is a queue that belongs to its connection. ``reply_place``: for a program
    that is not ours, where it subscribes and what it says in ``reply-to``. ``counts_returned``: what was given back by
    an UNSUBSCRIBE comes again as redelivered.
    """

    forbidden: str
    refusal: str
    temporary_queues: bool = True
    hides_receipts: bool = True
    reply_place: tuple[str, str] = ("/temp-queue/r", "/temp-queue/r")
    counts_returned: bool = True


FACTS = {
    "classic": Facts("/topic/elsewhere", "not authorized"),
    "artemis": Facts(
        "/queue/activemq.elsewhere",
        "does not have permission",
        temporary_queues=False,
        hides_receipts=False,
        reply_place=("/topic/bridge.reply.stomppy", "bridge.reply.stomppy"),
        counts_returned=False,
    ),
}


@dataclass(frozen=True)
class Target:
    """A broker to test against."""

    url: str
    login: str
    passcode: str
    kind: str = "classic"

    @property
    def facts(self) -> Facts:
        return FACTS[self.kind]

    @property
    def profile(self) -> Profile:
        return PROFILES[self.kind]

    @property
    def host(self) -> str:
        return Server.parse(self.url).host

    @property
    def port(self) -> int:
        return Server.parse(self.url).port

    def client(self, **options: object) -> Client:
        return Client([Server.parse(self.url)], Credentials(self.login, self.passcode), **options)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """FakeBroker does what Classic does, so the others are for tests marked every_broker."""
    if "target_kind" in metafunc.fixturenames:
        every = metafunc.definition.get_closest_marker("every_broker")
        real = kinds_of(metafunc.config) if every else ["classic"]
        kinds = ["FakeBroker", *(pytest.param(kind, marks=pytest.mark.broker) for kind in real)]
        metafunc.parametrize("target_kind", kinds)


@pytest.fixture
async def target(target_kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    """Each broker in turn."""
    if target_kind != "FakeBroker":
        yield _target_of(request.getfixturevalue("brokers").get(target_kind))
        return
    async with FakeBroker("us", "pass") as fake:
        fake.refuse("/topic/elsewhere", "User us is not authorized to write to: topic://elsewhere")
        yield Target(fake.url, "us", "pass")


def _target_of(broker: RealBroker) -> Target:
    return Target(broker.stomp_url, broker.login, broker.passcode, broker.kind)


@pytest.fixture
def target_of() -> Callable[[RealBroker], Target]:
    """A broker of the test's own as a target."""
    return _target_of


@pytest.fixture
def real(broker: RealBroker) -> Target:
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
