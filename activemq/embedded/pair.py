"""``BrokerPair``: two real brokers of which one stands in for the other, to develop and to test with."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from activemq.embedded import ports
from activemq.embedded.launcher import EmbeddedBroker, default_cache_dir
from activemq.embedded.standby import Replica, SharedDatabase, SharedFile, Standby
from activemq.embedded.zookeeper import ZooKeeper

if TYPE_CHECKING:
    from pathlib import Path

SHARED_FILE: Final = "shared-file"
SHARED_JDBC: Final = "shared-jdbc"
ARTEMIS_ZOOKEEPER: Final = "artemis-zookeeper"
SHAPES: Final = {SHARED_FILE: "classic", SHARED_JDBC: "classic", ARTEMIS_ZOOKEEPER: "artemis"}
NAMES: Final = ("a", "b")


@dataclass(frozen=True, slots=True)
class Database:
    """Where a pair of shape ``shared-jdbc`` keeps its messages: ``jdbc:mariadb://HOST:PORT/NAME``, empty or its own."""

    url: str
    user: str
    password: str = field(repr=False)


class BrokerPair:
    """Two brokers on loopback that end when we do.

    ::

        async with BrokerPair("shared-file", folder) as pair:
            ...  # pair.urls, pair.login, pair.passcode; await pair.live()

    :param shape: ``shared-file``, ``shared-jdbc`` or ``artemis-zookeeper``
    :param data: the folder for both, with a folder ``a`` and ``b``, and ``shared`` or ``zookeeper-N``
    :param stomp_ports: of both; 0 for any free one
    :param openwire_ports: for JMS clients, of both; 0 for any free one
    :param database: for ``shared-jdbc``
    :param passcode: ``None``: a generated one

    All else is :class:`activemq.embedded.EmbeddedBroker`'s. ``ValueError`` for what does not go together.
    """

    def __init__(
        self,
        shape: str,
        data: Path,
        *,
        stomp_ports: tuple[int, int] = (0, 0),
        openwire_ports: tuple[int, int] = (0, 0),
        database: Database | None = None,
        passcode: str | None = None,
        **options: Any,  # noqa: ANN401 - EmbeddedBroker's
    ) -> None:
        if shape not in SHAPES:
            raise ValueError(f"the shape must be one of {', '.join(SHAPES)}, not {shape!r}")
        if (database is not None) != (shape == SHARED_JDBC):
            raise ValueError(f"a database is needed for {SHARED_JDBC}, and for nothing else")
        self.shape = shape
        self.zookeeper: ZooKeeper | None = None
        if shape == ARTEMIS_ZOOKEEPER:
            self.zookeeper = ZooKeeper(
                data,
                java_home=options.get("java_home"),
                java_path=options.get("java_path"),
                cache_dir=options.get("cache_dir") or default_cache_dir(),
                progress=options.get("progress") or (lambda _line: None),
            )
        # Each must know the other's port before it starts.
        free = ports.choose_several(4)
        stomp = [port or free.pop() for port in stomp_ports]
        openwire = [port or free.pop() for port in openwire_ports]
        passcode = passcode or secrets.token_urlsafe(24)
        between = secrets.token_urlsafe(24)
        self.brokers = tuple(
            EmbeddedBroker(
                SHAPES[shape],
                data_dir=data / name,
                stomp_port=stomp[place],
                openwire_port=openwire[place],
                passcode=passcode,
                standby=self._standby(name, data, database, openwire[1 - place], between),
                **options,
            )
            for place, name in enumerate(NAMES)
        )

    def _standby(self, name: str, data: Path, database: Database | None, peer_port: int, between: str) -> Standby:
        if self.zookeeper is not None:
            return Replica(name, peer_port, self.zookeeper.connect, between)
        if database is not None:
            return SharedDatabase(database.url, database.user, database.password, holder=name)
        return SharedFile(data.absolute() / "shared")

    @property
    def urls(self) -> tuple[str, ...]:
        """Both addresses for STOMP: what a bridge has in ``broker.urls``."""
        return tuple(broker.stomp_url for broker in self.brokers)

    @property
    def login(self) -> str:
        """The user's name at both."""
        return self.brokers[0].login

    @property
    def passcode(self) -> str:
        """The user's passcode at both."""
        return self.brokers[0].passcode

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Start what does not run; return once one answers and the other stands by. Raises as ``EmbeddedBroker``."""
        await self.brokers[0].fetch()  # once, and not both at the same time
        if self.zookeeper is not None:
            await self.zookeeper.start()
        starting = [asyncio.ensure_future(broker.start()) for broker in self.brokers if not broker.running]
        try:
            await asyncio.gather(*starting)
        finally:  # of two that start, one may fail: the other must not go on behind our back
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def live(self) -> EmbeddedBroker | None:
        """Return the one that answers; None while neither does."""
        for broker in self.brokers:
            if await broker.is_live():
                return broker
        return None

    def partner(self, broker: EmbeddedBroker) -> EmbeddedBroker:
        """Return the other one."""
        first, second = self.brokers
        return second if broker is first else first

    async def close(self) -> None:
        """Stop all of it in good order; the data stays."""
        try:
            await asyncio.gather(*(broker.close() for broker in self.brokers))
        finally:
            if self.zookeeper is not None:
                await self.zookeeper.stop()
