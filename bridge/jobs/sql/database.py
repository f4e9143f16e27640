"""One database, kept at arm's length: whatever happens to it, we hear of it in bounded time."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bridge.jobs.store import StoreRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sqlalchemy import Connection

    class DBAPIConnection(Protocol):
        """A driver's connection as SQLAlchemy wraps it."""

        def terminate(self) -> None:
            """Close it at once, without the server."""


T = TypeVar("T")
log = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 3.0  # seconds
BUSY_TIMEOUT: Final = 3.0  # seconds that SQLite waits for another process's transaction
_READERS: Final = 4
_TRIES: Final = 5
# MySQL: deadlock, lock wait timeout. PostgreSQL: serialisation failure, deadlock.
_COLLISIONS: Final = frozenset({1213, 1205, "40001", "40P01"})
_EXTRAS: Final = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgresql"}


class Database:
    """Runs transactions, each bounded by ``timeout`` seconds.

    A database that hangs (a stopped server, a partition) does not answer a cancellation either, so a transaction that
    takes too long is left to itself and its connections are not used again.
    """

    def __init__(self, url: str, timeout: float) -> None:
        """Connect to nothing yet.

        Raises :class:`StoreRefusedError` for a URL that cannot be used; the text never shows the URL's password.
        """
        self.url = _async_url(url)
        self.available = False
        self._timeout = timeout
        self._connections: set[DBAPIConnection] = set()
        self._engine = self._make()
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._reason = ""  # what was logged already

    @property
    def kind(self) -> str:
        """``sqlite``, ``mysql`` (also for MariaDB) or ``postgresql``."""
        return _EXTRAS.get(self.url.get_backend_name(), "sqlite")

    async def run(self, work: Callable[[Connection], T], *, write: bool = False) -> T:
        """Run ``work`` in a transaction, again if it collides with another; return its result.

        Raises :class:`StoreUnavailableError`; the transaction may have been committed all the same.
        """
        try:
            result = await self._bounded(self._transact(work, write=write))
        except (TimeoutError, OSError, OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise self._lost(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or (self.kind == "postgresql" and _is_refusal(error)):
                raise self._lost(error) from error
            raise
        if not self.available:
            log.info("the store answers")
            self.available, self._reason = True, ""
        return result

    async def close(self) -> None:
        """Close all connections; one that does not let itself be closed is left."""
        try:
            await self._bounded(self._engine.dispose())
        except (TimeoutError, OSError, DBAPIError) as error:
            log.warning("the store's connections could not be closed (%s)", type(error).__name__)
        if self._abandoned:
            await asyncio.wait(self._abandoned, timeout=self._timeout)

    async def _transact(self, work: Callable[[Connection], T], *, write: bool) -> T:
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._engine.connect() as connection:
                    if write and self.kind == "sqlite":
                        connection = await connection.execution_options(begin="IMMEDIATE")  # noqa: PLW2901 - the same
                    async with connection.begin():
                        return await connection.run_sync(work)
            except DBAPIError as error:
                if attempt == _TRIES or not _collided(error):
                    raise
                await asyncio.sleep(0.01 * attempt)
        raise AssertionError("unreachable")  # the last attempt has returned or raised

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work, name="store")
        try:
            done, _ = await asyncio.wait([task], timeout=self._timeout)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if done:
            return task.result()
        self._abandon(task)
        self._cut()
        raise TimeoutError(f"no answer within {self._timeout:g} s")

    def _cut(self) -> None:
        """Close all connections without a word, and begin anew: they would not let themselves be closed politely."""
        connections, self._engine = self._connections, self._make()
        for connection in tuple(connections):
            connection.terminate()

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.add(task)
        task.add_done_callback(self._is_over)
        task.cancel()

    def _is_over(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("a transaction that was given up ended", exc_info=task.exception())

    def _lost(self, error: Exception) -> StoreUnavailableError:
        reason = _reason(error)
        if self.available or reason != self._reason:  # once for each new reason
            log.warning("the store cannot be used: %s; jobs and keys get 503 until it can", reason)
        self.available, self._reason = False, reason
        return StoreUnavailableError(reason)

    def _make(self) -> AsyncEngine:
        kind = self.kind
        options: dict[str, Any] = {"pool_size": _READERS + 1, "max_overflow": 0, "pool_timeout": self._timeout}
        arguments: dict[str, Any] = {"timeout": BUSY_TIMEOUT}
        if kind == "mysql":
            arguments = {"connect_timeout": round(CONNECT_TIMEOUT)}
        elif kind == "postgresql":
            arguments = {"timeout": CONNECT_TIMEOUT}
        if kind != "sqlite":
            options |= {"isolation_level": "READ COMMITTED", "pool_pre_ping": False, "pool_recycle": 1_800}
        try:
            engine = create_async_engine(self.url, connect_args=arguments, hide_parameters=True, **options)
        except ModuleNotFoundError as error:
            raise StoreRefusedError(
                f"store.url needs {error.name}, which is not installed: "
                f"pip install 'activemq-rest-bridge[{_EXTRAS.get(kind, kind)}]'"
            ) from error
        except (InvalidRequestError, ArgumentError) as error:
            raise StoreRefusedError("store.url names a driver that is not asynchronous or not known") from error
        self._connections = connections = set()
        event.listen(engine.sync_engine, "connect", lambda connection, _: connections.add(connection))
        for ended in ("close", "close_detached"):
            event.listen(engine.sync_engine, ended, lambda connection, *_: connections.discard(connection))
        if kind == "sqlite":
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine


def _async_url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreRefusedError("store.url is not a URL of a database") from error
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite+aiosqlite")
        if not url.database or url.database == ":memory:":
            raise StoreRefusedError("store.url must name a file: what is in memory does not survive the bridge")
        if not url.database.startswith("file:"):
            _make_folder(Path(url.database).parent)
    return url


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("the store's folder %s cannot be made: %s", folder, error.strerror)  # opening it will say the rest


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's own, not typed
    connection.isolation_level = None  # BEGIN is ours to say
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # A commit is on the disk when it returns. Commits are shared by all that wait, so it costs one fsync for many.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes then could not wait for another writer.
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")


def _collided(error: DBAPIError) -> bool:
    original = error.orig
    number = original.args[0] if original is not None and original.args else None
    codes = {getattr(original, "sqlstate", None), getattr(original, "pgcode", None), number}
    return any(code in _COLLISIONS for code in codes if isinstance(code, (int, str)))


def _is_refusal(error: DBAPIError) -> bool:
    """Whether PostgreSQL cannot serve now: 53 out of resources, 57 shut down, 58 system error, 08 connection, 25006."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    return state[:2] in ("53", "57", "58", "08") or state == "25006"


def _reason(error: Exception) -> str:
    """Say what happened without what might be secret: no URL, no statement, no values."""
    original = getattr(error, "orig", None) or error
    return str(original).splitlines()[0][:200] if str(original) else type(original).__name__
