"""Group commit: all that wants to be written while one transaction is on its way goes into the next one together.

SQLite has one writer, and a commit costs an fsync: sixty jobs in one transaction cost hardly more than one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bridge.jobs.sql.changes import Batch
from bridge.jobs.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.jobs.sql.database import Database
    from bridge.jobs.sql.operations import Operation

R = TypeVar("R")
log = logging.getLogger(__name__)

LARGEST: Final = 200  # operations in one transaction
# Two transactions do not begin closer than this to each other: what comes meanwhile shares the second one. The first
# after a quiet time is at once. Each costs half a millisecond of CPU, and its fsync.
INTERVAL: Final = 0.005  # seconds


class Writer:
    """Writes operations in the order in which they come, many at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[Operation[Any]] = deque()
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write, on the running loop."""
        self._task = asyncio.create_task(self._run(), name="store writer")

    def submit(self, operation: Operation[R]) -> asyncio.Future[R]:
        """Queue an operation; its future fails with :class:`StoreUnavailableError` if it could not be written.

        While the store is known to be away that is at once: nobody waits for what is not there.
        """
        done = operation.done
        if self._task is None or not self._database.available:
            done.set_exception(StoreUnavailableError("the store is not there"))
            done.add_done_callback(_looked_at)
        else:
            self._queue.append(operation)
            self._idle.clear()
            self._wanted.set()
        return done

    async def stop(self) -> None:
        """Write what is queued, as long as the store takes it, and end."""
        await self._idle.wait()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = 0.0
        while True:
            if not self._queue:
                self._idle.set()
                self._wanted.clear()
                await self._wanted.wait()
            early = began + INTERVAL - loop.time()
            if early > 0 and len(self._queue) < LARGEST:
                await asyncio.sleep(early)
            began = loop.time()
            batch = [self._queue.popleft() for _ in range(min(LARGEST, len(self._queue)))]
            try:
                await self._write(batch)
            except Exception:
                log.exception("a defect of the store's writer")  # and those who wait still hear
                _fail(batch, StoreUnavailableError("the store's writer failed"))

    async def _write(self, batch: Sequence[Operation[Any]]) -> None:
        try:
            await self._database.run(Batch.of(batch).apply, write=True)
        except StoreUnavailableError as error:
            _fail(batch, error)
            waiting, self._queue = list(self._queue), deque()
            _fail(waiting, error)
        except Exception as error:
            if len(batch) == 1:
                log.exception("a job could not be written")
                _fail(batch, StoreUnavailableError(f"it could not be written ({type(error).__name__})"))
                return
            log.debug("a transaction failed; its parts are tried one by one", exc_info=True)
            for one in batch:  # one of them is at fault: the others must not pay for it
                await self._write([one])
        else:
            for one in batch:
                if not one.done.done():
                    one.done.set_result(one.result)


def _fail(batch: Sequence[Operation[Any]], error: StoreUnavailableError) -> None:
    for one in batch:
        if not one.done.done():
            one.done.set_exception(error)
            one.done.add_done_callback(_looked_at)


def _looked_at(done: asyncio.Future[Any]) -> None:
    """Nobody needs to wait for an operation; a failure that nobody hears is no defect."""
    if not done.cancelled():
        done.exception()
