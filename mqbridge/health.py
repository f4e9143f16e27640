"""A worker's sign of life: it has no port that could be asked, so it writes a file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

EVERY = 1.0  # seconds
log = logging.getLogger(__name__)


class HealthFileError(Exception):
    """The file cannot be written; says which and why."""


@asynccontextmanager
async def health_file(file: Path | None, state: Callable[[], str]) -> AsyncIterator[None]:
    """Keep ``state()`` in a file, written anew each second, so that its age tells of a loop that hangs.

    ``None``: do nothing. The file is removed at the end. Raises :class:`HealthFileError` if it cannot be written at
    first; later that is logged, and tried again: work goes before signs of it.
    """
    if file is None:
        yield
        return
    try:
        _write(file, state())
    except OSError as error:
        raise HealthFileError(f"{file}: {error.strerror}") from error
    writing = asyncio.create_task(_keep(file, state), name="health file")
    try:
        yield
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        _remove(file)


async def _keep(file: Path, state: Callable[[], str]) -> None:
    while True:
        await asyncio.sleep(EVERY)
        try:
            _write(file, state())
        except OSError as error:
            log.warning("the health file %s cannot be written: %s", file, error.strerror)


def _write(file: Path, state: str) -> None:
    # By a rename: whoever reads it never sees half of it. On the tmpfs that it is meant for this does not block.
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(f"{state}\n", "ascii")
    fresh.replace(file)


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):  # its age tells too
        file.unlink(missing_ok=True)
