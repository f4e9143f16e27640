"""A database server: MySQL, MariaDB or PostgreSQL, over an asynchronous driver."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bridge.jobs.sql.database import TRIES, Database, collided
from bridge.jobs.store import StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

    class DBAPIConnection(Protocol):
        """A driver's connection as SQLAlchemy wraps it."""

        def terminate(self) -> None:
            """Close it at once, without the server."""


T = TypeVar("T")
log = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 3.0  # seconds
_CONNECTIONS: Final = 5
_RECYCLE: Final = 1_800  # seconds; before firewalls and MySQL's wait_timeout close an idle connection
_EXTRAS: Final = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgresql"}


class ServerDatabase(Database):
    """A server behind a network.

    One that hangs (stopped, or behind a partition) does not answer a cancellation either, so the connections of a
    transaction that takes too long are cut.
    """

    def __init__(self, url: URL, timeout: float) -> None:
        """Connect to nothing yet.

        Raises :class:`StoreRefusedError` for a URL that cannot be used; the text never shows the URL's password.
        """
        super().__init__(timeout)
        self._url = url
        self._connections: set[DBAPIConnection] = set()
        self._engine = self._make()

    def begin(self, work: Callable[[Connection], T], *, write: bool) -> asyncio.Future[T]:  # noqa: ARG002 - of no matter
        """See :class:`Database`."""
        return asyncio.create_task(self._transact(work), name="store")

    def cut(self) -> None:
        """See :class:`Database`: close all connections without a word."""
        connections, self._engine = self._connections, self._make()
        for connection in tuple(connections):
            connection.terminate()

    async def close(self) -> None:
        """See :class:`Database`."""
        try:
            await self._bounded(asyncio.create_task(self._engine.dispose()))
        except (TimeoutError, OSError, DBAPIError) as error:
            log.warning("the store's connections could not be closed (%s)", type(error).__name__)
        await self.wait_for_abandoned()

    async def _transact(self, work: Callable[[Connection], T]) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(work)
            except DBAPIError as error:
                if attempt == TRIES or not collided(error):
                    raise
                await asyncio.sleep(0.01 * attempt)
        raise AssertionError("unreachable")  # the last attempt has returned or raised

    def _make(self) -> AsyncEngine:
        name = self._url.get_backend_name()
        arguments: dict[str, Any] = {"timeout": CONNECT_TIMEOUT}
        if name != "postgresql":
            arguments = {"connect_timeout": round(CONNECT_TIMEOUT)}
        try:
            engine = create_async_engine(
                self._url,
                connect_args=arguments,
                hide_parameters=True,
                pool_size=_CONNECTIONS,
                max_overflow=0,
                pool_timeout=self.timeout,
                pool_recycle=_RECYCLE,
                isolation_level="READ COMMITTED",
            )
        except ModuleNotFoundError as error:
            raise StoreRefusedError(
                f"store.url needs {error.name}, which is not installed: "
                f"pip install '.[{_EXTRAS.get(name, name)}]' in a checkout of activemq-rest-bridge"
            ) from error
        except (InvalidRequestError, ArgumentError) as error:
            raise StoreRefusedError("store.url names a driver that is not asynchronous or not known") from error
        self._connections = connections = set()
        event.listen(engine.sync_engine, "connect", lambda connection, _: connections.add(connection))
        for ended in ("close", "close_detached"):
            event.listen(engine.sync_engine, ended, lambda connection, *_: connections.discard(connection))
        return engine
