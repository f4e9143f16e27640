"""What the workers' tests share: queues of their own, a requester, a proxy before the broker."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.consumers.harness import Proxy, Requester, new_client, proxy_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activemq.embedded import EmbeddedBroker


@pytest.fixture
def queue() -> str:
    """A queue's name that no other test of the session uses."""
    return f"test.{secrets.token_hex(6)}"


@pytest.fixture
async def requester(broker: EmbeddedBroker) -> AsyncIterator[Requester]:
    """Somebody with a temporary reply queue on the session's broker."""
    async with Requester(new_client(broker)) as requester:
        yield requester


@pytest.fixture
async def proxy(broker: EmbeddedBroker) -> AsyncIterator[Proxy]:
    """A proxy before the session's broker."""
    async with proxy_to(broker) as proxy:
        yield proxy
