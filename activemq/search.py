"""Asks several brokers for a connection, without one that is silent holding up the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from activemq.errors import ActiveMQError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activemq.servers import Server

T = TypeVar("T")


class Search(Generic[T]):
    """Attempts that go on in the background, at most one to each server.

    ``attempt`` opens a connection or raises an :class:`ActiveMQError`, which ``on_failed`` is told; ``dispose`` gets
    those that were opened and are not wanted.
    """

    def __init__(
        self,
        attempt: Callable[[Server], Awaitable[T]],
        on_failed: Callable[[Server, Exception], None],
        dispose: Callable[[T], None],
    ) -> None:
        self._attempt = attempt
        self._on_failed = on_failed
        self._dispose = dispose
        self._tasks: dict[Server, asyncio.Task[T]] = {}

    def begin(self, server: Server) -> None:
        """Ask that server, if it is not being asked already."""
        if server not in self._tasks:
            self._tasks[server] = asyncio.create_task(self._attempted(server), name=f"ask {server}")

    async def answer(self, within: float, server: Server | None = None) -> tuple[Server, T] | None:
        """Return the first that answers; None if nobody does ``within`` seconds.

        With ``server`` it is None as soon as that one is known to fail.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        while server is None or server in self._tasks:
            found = self._take_answer()
            left = end - loop.time()
            if found is not None or left <= 0 or (server is not None and server not in self._tasks):
                return found
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(left)
        return None

    async def end(self) -> None:
        """Ask nobody any more."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            # A callback, since whoever waits here may be cancelled while an attempt has just succeeded.
            task.add_done_callback(self._give_back)
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _give_back(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._dispose(task.result())

    def _take_answer(self) -> tuple[Server, T] | None:
        """Return the one that was begun first of those that have answered, and forget those that failed."""
        for server, task in list(self._tasks.items()):
            if not task.done():
                continue
            del self._tasks[server]
            error = task.exception()
            if error is None:
                return server, task.result()
            if not isinstance(error, ActiveMQError):
                raise error
            self._on_failed(server, error)
        return None

    async def _attempted(self, server: Server) -> T:
        return await self._attempt(server)
