"""The other processes on the same addresses, asked for their figures: a scrape comes to one of them, by chance.

Each listens on a Unix socket in a folder that only their user may enter; whoever is scraped asks all others.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE: Final = 2.0  # seconds; less than scrapers have, usually 10
log = logging.getLogger(__name__)


class Siblings:
    """``number`` is ours, of ``of`` from 1; ``tell`` returns our figures, packed."""

    def __init__(self, folder: Path, number: int, of: int, tell: Callable[[], bytes]) -> None:
        self.number = number
        self._folder = folder
        self._others = [other for other in range(1, of + 1) if other != number]
        self._tell = tell
        self._server: asyncio.Server | None = None

    def _socket(self, number: int) -> Path:
        return self._folder / f"{number}.sock"

    async def start(self) -> None:
        """Listen. Where that is not possible the others do without our figures: calls go before them."""
        try:
            self._socket(self.number).unlink(missing_ok=True)  # of one that was killed
            self._server = await asyncio.start_unix_server(self._answer, self._socket(self.number))
        except OSError as error:
            log.warning("metrics: the other processes cannot ask this one: %s", error)

    async def stop(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self._socket(self.number).unlink(missing_ok=True)

    async def ask(self) -> dict[int, bytes | None]:
        """Return what each of the others says; None of one that does not answer in time."""
        answers = await asyncio.gather(*map(self._ask, self._others))
        return dict(zip(self._others, answers, strict=True))

    async def _ask(self, number: int) -> bytes | None:
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_unix_connection(self._socket(number))
                try:
                    return await reader.read() or None
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(self._tell())
            await writer.drain()
        writer.close()
