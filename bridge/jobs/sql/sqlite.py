"""SQLite in WAL mode: one file, one writer at a time, as many readers as one likes.

The standard library's driver, in threads of our own. An asynchronous one is a thread too, with a hop there and back
for each statement; here a transaction is one hop, which is a third of the CPU (docs/decisions/0009-jobs.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import create_engine, event

from bridge.jobs.sql.database import Database
from bridge.jobs.store import StoreRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

T = TypeVar("T")
log = logging.getLogger(__name__)

BUSY_TIMEOUT: Final = 3.0  # seconds that SQLite waits for another process's transaction; less than a transaction may
_READERS: Final = 2


class SqliteDatabase(Database):
    """A file. Nothing in it can hang for longer than :data:`BUSY_TIMEOUT`, but for the disk itself."""

    def __init__(self, url: URL, timeout: float) -> None:
        """Open nothing yet. Raises :class:`StoreRefusedError` for a URL that names no file."""
        super().__init__(timeout)
        if not url.database or url.database == ":memory:":
            raise StoreRefusedError("store.url must name a file: what is in memory does not survive the bridge")
        self._file = Path(url.database)
        self._engine = create_engine(
            url.set(drivername="sqlite"),
            connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False},
            hide_parameters=True,
            pool_size=_READERS + 1,
            max_overflow=0,
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._running: set[Future[Any]] = set()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store reader")

    def begin(self, work: Callable[[Connection], T], *, write: bool) -> asyncio.Future[T]:
        """See :class:`Database`."""
        executor = self._writer if write else self._readers
        running = executor.submit(self._transact, work, write)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return asyncio.wrap_future(running)

    def to_be_made(self) -> str:
        """See :class:`Database`."""
        if self._file.exists():
            return ""
        folder = next(folder for folder in self._file.absolute().parents if folder.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise StoreUnavailableError(f"{folder} may not be written to")
        return str(self._file)

    def cut(self) -> None:
        """See :class:`Database`: a thread cannot be cut, and what waits behind it is given up in its turn."""

    async def close(self) -> None:
        """See :class:`Database`."""
        for executor in (self._writer, self._readers):
            executor.shutdown(wait=False, cancel_futures=True)
        # What was given up still runs: cancelling what waits for a thread does not end the thread. The next store of
        # this process must not find it at work: Alembic's context is one for all.
        if running := self._running.copy():
            await asyncio.to_thread(wait, running, self.timeout)
        self._engine.dispose()

    def _transact(self, work: Callable[[Connection], T], write: bool) -> T:
        self._make_file()
        with self._engine.connect() as connection:
            if write:
                connection.execution_options(begin="IMMEDIATE")
            with connection.begin():
                return work(connection)

    def _make_file(self) -> None:
        if not self.available:  # the first time, and again after trouble
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch(mode=0o600)  # it holds what callers have sent


def _prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's own
    connection.isolation_level = None  # BEGIN is ours to say
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit is on the disk when it returns. Commits are shared by all that wait, so it costs one fsync for many.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes then could not wait for another writer.
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")
