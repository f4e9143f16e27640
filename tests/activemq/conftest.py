"""What tests of the client and of FakeBroker share; the peers are in harness.py."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trustme

from activemq.frames import SERVER_COMMANDS
from activemq.testing import FakeBroker
from tests.activemq.harness import PATIENCE, Answers, Owner, Server, Wire

Connect = Callable[..., Awaitable[Wire]]


@pytest.fixture
async def fake() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as broker:
        yield broker


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as one:
        yield one


@pytest.fixture
async def connect(fake: FakeBroker) -> AsyncIterator[Connect]:
    """``await connect()`` gives a bare STOMP client, logged in at the fake broker or at ``port``."""
    wires: list[Wire] = []

    async def connect(port: int | None = None, version: str = "1.2", **headers: str) -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port or fake.port), SERVER_COMMANDS)
        wires.append(wire)
        wire.send("CONNECT", accept_version=version, host="/", **headers)
        assert (await wire.frame()).command == "CONNECTED"
        return wire

    yield connect
    for wire in wires:
        await wire.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait until a condition holds, however busy the machine is."""

    async def eventually(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - conditions of all kinds have no event in common
                await asyncio.sleep(0.005)

    return eventually


@pytest.fixture(scope="session")
def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context that trust each other, for 127.0.0.1."""
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    return server_side, client_side


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """After the test only its own task is there."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before == {asyncio.current_task()}


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that this package logs."""
    caplog.set_level(logging.DEBUG, "activemq")
    return caplog


@pytest.fixture
def owner() -> Owner:
    """Who has a connection."""
    return Owner()


@pytest.fixture
def answers() -> Answers:
    """A callback for receipts."""
    return Answers()
