"""A real broker to test against: one that we start, in a container or not, or one that is there already."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from activemq.client import Client, Credentials, Server
from activemq.embedded import EmbeddedBroker
from activemq.errors import BrokerStartError
from activemq.testing.background import BackgroundLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class RealBroker:
    """A broker that runs, and how to log in.

    ``kind``: ``classic``, ``artemis``, ``rabbitmq``, or ``auto`` if nobody said; ``stomp_url``: ``stomp://HOST:PORT``;
    ``login`` and ``passcode``: ``None`` if it asks for none.
    """

    kind: str
    stomp_url: str
    login: str | None
    passcode: str | None = field(repr=False)

    @property
    def server(self) -> Server:
        """Its address."""
        return Server.parse(self.stomp_url)

    @property
    def credentials(self) -> Credentials:
        """Who to be there."""
        return Credentials(self.login, self.passcode)

    def client(self, **options: Any) -> Client:  # noqa: ANN401 - Client's own
        """Return a new client of it, not started: ``async with broker.client() as client``."""
        return Client([self.server], self.credentials, **options)


@contextmanager
def embedded(kind: str = "classic", **options: Any) -> Iterator[RealBroker]:  # noqa: ANN401 - EmbeddedBroker's own
    """Run one as a child process for as long as the context lasts; blocks while it starts.

    ``options`` are those of :class:`activemq.embedded.EmbeddedBroker`, and so are the errors.
    """
    background = BackgroundLoop()
    broker = EmbeddedBroker(kind, **options)
    try:
        background.run(broker.start())
        yield RealBroker(kind, broker.stomp_url, broker.login, broker.passcode)
    finally:
        background.run(broker.close())
        background.close()


@contextmanager
def existing(
    url: str, login: str | None = None, passcode: str | None = None, *, kind: str = "auto", timeout: float = 10.0
) -> Iterator[RealBroker]:
    """Take one that is there already, after having logged in once; blocks.

    ``ValueError`` for what is no ``stomp://`` URL, :class:`BrokerStartError` if no login succeeds within ``timeout``
    seconds.
    """
    broker = RealBroker(kind, url, login, passcode)
    wait_until_ready(broker, timeout)
    yield broker


def wait_until_ready(broker: RealBroker, timeout: float, alive: Callable[[], bool] = lambda: True) -> None:
    """Block until it lets us log in. Raises :class:`BrokerStartError` after ``timeout`` seconds, or once not alive."""
    background = BackgroundLoop()
    try:
        background.run(_log_in(broker, timeout, alive))
    finally:
        background.close()


async def _log_in(broker: RealBroker, timeout: float, alive: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    async with broker.client() as client:
        while True:
            try:
                async with asyncio.timeout(min(_LOOK_EVERY, max(end - loop.time(), 0.01))):
                    return await client.wait_connected()
            except TimeoutError:
                if not await asyncio.to_thread(alive):
                    raise BrokerStartError("it ended while it started") from None
                if loop.time() >= end:
                    raise BrokerStartError(f"no login at {broker.stomp_url} within {timeout:g} s") from None
