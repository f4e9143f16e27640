"""One database, kept at arm's length: whatever happens to it, we hear of it in bounded time."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from bridge.jobs.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

T = TypeVar("T")
log = logging.getLogger(__name__)

TRIES: Final = 5
# MySQL: deadlock, lock wait timeout. PostgreSQL: serialisation failure, deadlock.
_COLLISIONS: Final = frozenset({1213, 1205, "40001", "40P01"})
# PostgreSQL: out of resources, shut down, system error, connection, login, no such database; and a server that only
# reads (a standby).
_REFUSALS: Final = ("53", "57", "58", "08", "28", "3D", "25006")


class Database(ABC):
    """Runs transactions, each bounded by ``timeout`` seconds."""

    def __init__(self, timeout: float) -> None:
        self.available = False
        self.timeout = timeout
        self._abandoned: set[asyncio.Future[Any]] = set()
        self._reason = ""  # what was logged already

    async def run(self, work: Callable[[Connection], T], *, write: bool = False) -> T:
        """Run ``work`` in a transaction, again if it collides with another; return its result.

        Raises :class:`StoreUnavailableError`; the transaction may have been committed all the same.
        """
        try:
            result = await self._bounded(self.begin(work, write=write))
        except (TimeoutError, OSError, OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise self._lost(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or (_state(error) or "").startswith(_REFUSALS):
                raise self._lost(error) from error
            raise
        if not self.available:
            log.info("the store answers")
            self.available, self._reason = True, ""
        return result

    @abstractmethod
    def begin(self, work: Callable[[Connection], T], *, write: bool) -> asyncio.Future[T]:
        """Start a transaction."""

    def to_be_made(self) -> str:
        """Say what the first transaction would make; empty if it is there.

        Raises :class:`StoreUnavailableError` if it could not make it.
        """
        return ""

    @abstractmethod
    def cut(self) -> None:
        """Begin anew, after a transaction that took too long."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections; one that does not let itself be closed is left."""

    async def _bounded(self, task: asyncio.Future[T]) -> T:
        try:
            done, _ = await asyncio.wait([task], timeout=self.timeout)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if done:
            return task.result()
        self._abandon(task)
        self.cut()
        raise TimeoutError(f"no answer within {self.timeout:g} s")

    async def wait_for_abandoned(self) -> None:
        """Give what was given up a last chance to end."""
        if self._abandoned:
            await asyncio.wait(self._abandoned, timeout=self.timeout)

    def _abandon(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.add(task)
        task.add_done_callback(self._is_over)
        task.cancel()

    def _is_over(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("a transaction that was given up ended", exc_info=task.exception())

    def _lost(self, error: Exception) -> StoreUnavailableError:
        reason = reason_of(error)
        if self.available or reason != self._reason:  # once for each new reason
            log.warning("the store cannot be used: %s; jobs and keys get 503 until it can", reason)
        self.available, self._reason = False, reason
        return StoreUnavailableError(reason)


def collided(error: DBAPIError) -> bool:
    """Say whether two transactions were in each other's way, so that it is worth to try again."""
    original = error.orig
    number = original.args[0] if original is not None and original.args else None
    return _state(error) in _COLLISIONS or (isinstance(number, int) and number in _COLLISIONS)


def _state(error: DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state


def reason_of(error: Exception) -> str:
    """Say what happened without what might be secret: no URL, no statement, no values."""
    original = getattr(error, "orig", None) or error
    return str(original).splitlines()[0][:200] if str(original) else type(original).__name__
