"""A message to ourselves, for the broker's stamp on it: what its clock says."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from activemq.clock import Clock
    from activemq.frames import Frame


class Echo:
    """One such message, made on the running loop just before it is sent."""

    def __init__(self) -> None:
        self._sent = 0.0  # epoch ms, by our clock
        self._back: asyncio.Future[tuple[float, Frame]] = asyncio.get_running_loop().create_future()

    def sending(self) -> None:
        """Note the time: it leaves now."""
        self._sent = time.time() * 1_000

    def came_back(self, frame: Frame) -> None:
        """Take it from the broker."""
        if not self._back.done():
            self._back.set_result((time.time() * 1_000, frame))

    def refused(self, error: Exception | None) -> None:
        """Take the broker's answer to what was asked on its way; None is no refusal."""
        if error is not None and not self._back.done():
            self._back.set_exception(error)

    async def measure(self, clock: Clock, stamp: Callable[[Frame], int | None], timeout: float) -> None:
        """Wait for it and set the clock, unless the broker has not stamped it.

        Raises TimeoutError after ``timeout`` seconds, or what it was refused with.
        """
        try:
            async with asyncio.timeout(timeout):
                received, frame = await self._back
        finally:
            self._back.cancel()
        stamped = stamp(frame)
        if stamped is not None:
            clock.measure(self._sent, received, stamped)
